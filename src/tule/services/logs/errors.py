"""Logs' refusals, in Logs' words."""

from tule.kernel.errors import AwsError


class ResourceNotFoundError(AwsError):
    code = "ResourceNotFoundException"


class ResourceAlreadyExistsError(AwsError):
    code = "ResourceAlreadyExistsException"


class InvalidParameterError(AwsError):
    code = "InvalidParameterException"


class TooManyTagsError(AwsError):
    code = "TooManyTagsException"


def no_group() -> ResourceNotFoundError:
    return ResourceNotFoundError("The specified log group does not exist.")


def no_stream() -> ResourceNotFoundError:
    return ResourceNotFoundError("The specified log stream does not exist.")
