"""What is wrong with a template, in CloudFormation's words."""

from tule.kernel.errors import AwsError


class TemplateError(AwsError):
    """A template or parameter that CloudFormation refuses."""

    code = "ValidationError"
