"""IAM's refusals, in IAM's words."""

from tule.kernel.errors import AwsError


class NoSuchEntityError(AwsError):
    code = "NoSuchEntityException"
    status = 404


class EntityAlreadyExistsError(AwsError):
    code = "EntityAlreadyExistsException"
    status = 409


class DeleteConflictError(AwsError):
    code = "DeleteConflictException"
    status = 409


class LimitExceededError(AwsError):
    code = "LimitExceededException"
    status = 409


class MalformedPolicyDocumentError(AwsError):
    code = "MalformedPolicyDocumentException"


class InvalidInputError(AwsError):
    code = "InvalidInputException"


class ValidationError(AwsError):
    code = "ValidationError"


def no_such(kind: str, name: str) -> NoSuchEntityError:
    """`kind` is "user", "role" or "policy"."""
    return NoSuchEntityError(f"The {kind} with name {name} cannot be found.")
