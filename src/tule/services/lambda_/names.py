"""Function names in their three forms: a name, a partial ARN and a full ARN, each with an optional qualifier."""

import re
from typing import NamedTuple

from tule.kernel.context import RequestContext
from tule.kernel.errors import AwsError

FUNCTION_NAME = re.compile(
    r"(?:arn:(?P<partition>aws[a-zA-Z-]*)?:lambda:)?"
    r"(?:(?P<region>[a-z]{2}(?:-gov|-iso[a-z]?)?-[a-z]+-\d):)?"
    r"(?:(?P<account>\d{12}):)?(?:function:)?(?P<name>[a-zA-Z0-9_.-]+)(?::(?P<qualifier>\$LATEST|[a-zA-Z0-9_-]+))?"
)
MAPPING_RESOURCE = "event-source-mapping:"


PENDING = "The operation cannot be performed at this time. The function is currently in the following state: Pending"


class FunctionName(NamedTuple):
    """What a caller's FunctionName and Qualifier mean."""

    account: str
    region: str
    name: str
    qualifier: str
    """"" if there is none."""


class InvalidParameterValueError(AwsError):
    """InvalidParameterValueException, which the service gives for most of its own checks."""

    code = "InvalidParameterValueException"

    def __init__(self, message: str) -> None:
        super().__init__(message, members={"Type": "User"})


class ResourceNotFoundError(AwsError):
    code = "ResourceNotFoundException"
    status = 404

    def __init__(self, message: str) -> None:
        super().__init__(message, members={"Type": "User"})


class ResourceConflictError(AwsError):
    code = "ResourceConflictException"
    status = 409

    def __init__(self, message: str) -> None:
        super().__init__(message, members={"Type": "User"})


class ServiceFaultError(AwsError):
    """ServiceException: Lambda itself has a fault, which Tule's log tells."""

    code = "ServiceException"
    status = 500

    def __init__(self, message: str) -> None:
        super().__init__(message, members={"Type": "Service"})


class PreconditionFailedError(AwsError):
    code = "PreconditionFailedException"
    status = 412

    def __init__(self, api: str = "GetFunction/GetAlias") -> None:
        super().__init__(
            "The Revision Id provided does not match the latest Revision Id. "
            f"Call the {api} API to retrieve the latest Revision Id",
            members={"Type": "User"},
        )


class InvalidRequestError(AwsError):
    """ValidationException: a member breaks a constraint that the model can't state."""

    code = "ValidationException"

    def __init__(self, value: object, member: str, constraint: str) -> None:
        super().__init__(
            f"1 validation error detected: Value '{value}' at '{member}' failed to satisfy constraint: {constraint}"
        )


def parse_name(context: RequestContext, text: str, qualifier: str = "") -> FunctionName:
    """Which function `text` names; refuses what names another region or account, or two different qualifiers."""
    if text.isidentifier():  # the usual case, and on Invoke's path
        return FunctionName(context.account, context.region, text, qualifier)
    match = FUNCTION_NAME.fullmatch(text)
    if match is None:
        raise InvalidRequestError(
            text,
            "functionName",
            "Member must satisfy regular expression pattern: (arn:(aws[a-zA-Z-]*)?:lambda:)?((eusc-)?[a-z]{2}((-gov)|"
            r"(-iso([a-z]?)))?-[a-z]+-\d{1}:)?(\d{12}:)?(function:)?([a-zA-Z0-9-_\.]+)(:(\$LATEST(\.PUBLISHED)?|"
            "[a-zA-Z0-9-_]+))?",
        )
    own = match["qualifier"] or ""
    if own and qualifier and own != qualifier:
        raise InvalidParameterValueError(
            "The derived qualifier from the function name does not match the specified qualifier."
        )
    name = FunctionName(
        match["account"] or context.account, match["region"] or context.region, match["name"], qualifier or own
    )
    if name.region != context.region:
        raise ResourceNotFoundError(
            f"Functions from '{name.region}' are not reachable in this region ('{context.region}')"
        )
    if name.account != context.account:
        arn = f"arn:{context.partition}:lambda:{name.region}:{name.account}:function:{name.name}"
        action = f"lambda:{context.operation}"
        raise AwsError(
            f"User: {context.principal.arn} is not authorized to perform: {action} on resource: {arn} because no "
            f"resource-based policy allows the {action} action",
            code="AccessDeniedException",
            status=403,
        )
    return name


def arn_of(context: RequestContext, name: FunctionName) -> str:
    """The ARN, qualified if the caller's was."""
    tail = f":{name.qualifier}" if name.qualifier else ""
    return context.arn("lambda", f"function:{name.name}{tail}")


def function_not_found(context: RequestContext, name: FunctionName) -> ResourceNotFoundError:
    return ResourceNotFoundError(f"Function not found: {arn_of(context, name)}")


def alias_not_found(context: RequestContext, name: FunctionName) -> ResourceNotFoundError:
    return ResourceNotFoundError(f"Cannot find alias arn: {arn_of(context, name)}")


def only_unqualified(name: FunctionName) -> None:
    """Refuse any qualifier, for operations on the function as a whole."""
    if name.qualifier:
        raise InvalidParameterValueError(
            "This operation is permitted on Lambda functions only. Aliases and versions do not support this operation. "
            "Please specify either a function name or an unqualified function ARN."
        )
