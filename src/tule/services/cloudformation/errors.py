"""What CloudFormation refuses, in its own words."""

from tule.kernel.errors import AwsError


class ValidationError(AwsError):
    """The model has no shape for it; every refusal without a name of its own is one."""

    code = "ValidationError"


class AlreadyExistsError(AwsError):
    code = "AlreadyExistsException"


class InsufficientCapabilitiesError(AwsError):
    code = "InsufficientCapabilitiesException"

    def __init__(self, needed: str) -> None:
        super().__init__(f"Requires capabilities : [{needed}]")


class ChangeSetNotFoundError(AwsError):
    code = "ChangeSetNotFoundException"

    def __init__(self, name: str) -> None:
        super().__init__(f"ChangeSet [{name}] does not exist")


class InvalidChangeSetStatusError(AwsError):
    code = "InvalidChangeSetStatusException"


class TokenAlreadyExistsError(AwsError):
    code = "TokenAlreadyExistsException"

    def __init__(self, token: str) -> None:
        super().__init__(f"Token {token} was used for another operation on this stack")
