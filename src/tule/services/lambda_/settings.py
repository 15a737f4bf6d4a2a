"""A function's configuration, from a request's members to what is kept, checked as AWS checks it."""

import json
import re
from collections.abc import Mapping as Members
from typing import Any, Final

from tule.kernel.errors import OperationNotImplementedError
from tule.services.lambda_ import limits
from tule.services.lambda_.engine import EGRESS, EGRESS_TAG
from tule.services.lambda_.models import Function, Logging
from tule.services.lambda_.names import InvalidParameterValueError, InvalidRequestError

RUNTIMES_HONOURED: Final = re.compile(r"python3\.\d+|nodejs\d+\.x|provided\.al\d+|java\d+|ruby\d\.\d|dotnet\d+")
"""What Tule runs. The host may lack a version, which the function runtime then says."""

RUNTIMES_OF_AWS: Final = (
    "nodejs20.x, python3.14, provided.al2023, python3.12, python3.13, nodejs24.x, nodejs22.x, java25, python3.10, "
    "python3.11, java21, ruby3.3, ruby3.4, ruby3.2, python3.9, nodejs18.x, java17, java11, java8.al2, dotnet10, "
    "dotnet8, provided.al2, python3.8, nodejs16.x, dotnet6"
)
"""What CreateFunction takes on AWS; the recorded answer ends in the middle, the order of the rest is ours."""

RUNTIMES_RETIRED: Final = frozenset(
    {
        "nodejs",
        "nodejs4.3",
        "nodejs4.3-edge",
        "nodejs6.10",
        "nodejs8.10",
        "nodejs10.x",
        "nodejs12.x",
        "nodejs14.x",
        "python2.7",
        "python3.6",
        "python3.7",
        "dotnetcore1.0",
        "dotnetcore2.0",
        "dotnetcore2.1",
        "dotnetcore3.1",
        "java8",
        "go1.x",
        "ruby2.5",
        "ruby2.7",
        "provided",
    }
)
"""What AWS used to take and refuses by name now."""

RESERVED_VARIABLES: Final = frozenset(
    {
        "_HANDLER",
        "_X_AMZN_TRACE_ID",
        "AWS_DEFAULT_REGION",
        "AWS_REGION",
        "AWS_EXECUTION_ENV",
        "AWS_LAMBDA_FUNCTION_NAME",
        "AWS_LAMBDA_FUNCTION_MEMORY_SIZE",
        "AWS_LAMBDA_FUNCTION_VERSION",
        "AWS_LAMBDA_INITIALIZATION_TYPE",
        "AWS_LAMBDA_LOG_GROUP_NAME",
        "AWS_LAMBDA_LOG_STREAM_NAME",
        "AWS_ACCESS_KEY",
        "AWS_ACCESS_KEY_ID",
        "AWS_SECRET_ACCESS_KEY",
        "AWS_SESSION_TOKEN",
        "AWS_LAMBDA_RUNTIME_API",
        "LAMBDA_TASK_ROOT",
        "LAMBDA_RUNTIME_DIR",
    }
)
"""AWS: "Defined runtime environment variables", the reserved ones."""

NOT_HONOURED: Final = {
    "FileSystemConfigs": "File systems can't be mounted into functions.",
    "ImageConfig": "Functions from container images are not implemented.",
    "KMSKeyArn": "Environment variables are not encrypted with a customer's key.",
    "CapacityProviderConfig": "Managed instances are not implemented.",
    "PublishTo": "Managed instances, whose $LATEST.PUBLISHED it names, are not implemented.",
    "DurableConfig": "Durable functions are not implemented.",
    "TenancyConfig": "Tenant isolation is not implemented.",
}
"""Members that Tule refuses, and what it says about each, unless they are empty."""

_ROLE = re.compile(r"arn:(aws[a-zA-Z-]*)?:iam::\d{12}:role/?[a-zA-Z_0-9+=,.@\-_/]+")
_ROLE_PATTERN = r"arn:(aws[a-zA-Z-]*)?:iam::\d{12}:role/?[a-zA-Z_0-9+=,.@\-_/]+"
_VARIABLE = re.compile(r"[a-zA-Z]([a-zA-Z0-9_])+")
_QUEUE_OR_TOPIC = re.compile(r"arn:aws[a-zA-Z-]*:(sqs|sns):[a-z0-9-]+:\d{12}:[a-zA-Z0-9_.-]+")


def refuse_what_is_not_honoured(operation: str, request: Members[str, Any]) -> None:
    """Name the first member that Tule would otherwise pretend to honour."""
    for member, why in NOT_HONOURED.items():
        if request.get(member):
            raise OperationNotImplementedError("lambda", operation, f"{member} was given. {why}")
    if request.get("PackageType") == "Image":
        raise OperationNotImplementedError("lambda", operation, "PackageType Image was given: only Zip is implemented.")
    vpc = request.get("VpcConfig") or {}
    if vpc.get("SubnetIds") or vpc.get("SecurityGroupIds"):
        raise OperationNotImplementedError("lambda", operation, "VpcConfig names subnets, and Tule has no VPCs.")


def settings(operation: str, request: Members[str, Any], name: str) -> dict[str, Any]:
    """The fields of `models.Function` that `request` sets, checked. Used for create and for update alike."""
    refuse_what_is_not_honoured(operation, request)
    fields: dict[str, Any] = {}
    for member, field, check in _SIMPLE:
        if request.get(member) is not None:
            fields[field] = check(operation, request[member])
    if request.get("Environment") is not None:
        fields["environment"] = _environment(request["Environment"].get("Variables") or {})
    if request.get("LoggingConfig") is not None:
        fields["logging"] = logging_config(request["LoggingConfig"], name)
    return fields


def _role(_operation: str, role: str) -> str:
    if not _ROLE.fullmatch(role):
        raise InvalidRequestError(role, "role", f"Member must satisfy regular expression pattern: {_ROLE_PATTERN}")
    return role


def check_runtime(operation: str, runtime: str) -> str:
    """The runtime, if Tule runs it."""
    if runtime in RUNTIMES_RETIRED:
        raise InvalidParameterValueError(
            f"The runtime parameter of {runtime} is no longer supported for creating or updating AWS Lambda functions. "
            "We recommend you use a supported runtime while creating or updating functions."
        )
    if runtime not in RUNTIMES_OF_AWS.split(", "):
        raise InvalidParameterValueError(
            f"Value {runtime} at 'runtime' failed to satisfy constraint: "
            f"Member must satisfy enum value set: [{RUNTIMES_OF_AWS}] or be a valid ARN"
        )
    if not RUNTIMES_HONOURED.fullmatch(runtime):
        raise OperationNotImplementedError(
            "lambda", operation, f"Runtime {runtime} was given: Tule runs python3.*, nodejs*.x, java* and provided.*."
        )
    return runtime


def _handler(_operation: str, handler: str) -> str:
    if not handler or any(c.isspace() for c in handler):
        raise InvalidRequestError(handler, "handler", r"Member must satisfy regular expression pattern: [^\s]+")
    if len(handler) > 128:
        raise InvalidRequestError(handler, "handler", "Member must have length less than or equal to 128")
    return handler


def _description(_operation: str, description: str) -> str:
    if len(description) > 256:
        raise InvalidRequestError(description, "description", "Member must have length less than or equal to 256")
    return description


def _between(member: str, low: int, high: int, value: int) -> int:
    if value > high:
        raise InvalidRequestError(value, member, f"Member must have value less than or equal to {high}")
    if value < low:
        raise InvalidRequestError(value, member, f"Member must have value greater than or equal to {low}")
    return value


def _timeout(_operation: str, timeout_s: int) -> int:
    return _between("timeout", 1, limits.TIMEOUT_MAX_S, timeout_s)


def _memory(_operation: str, memory_mb: int) -> int:
    return _between("memorySize", 128, limits.MEMORY_MAX_MB, memory_mb)


def _ephemeral(_operation: str, storage: Members[str, Any]) -> int:
    return _between("ephemeralStorage.size", 512, 10_240, int(storage["Size"]))


def _architecture(_operation: str, architectures: list[str]) -> str:
    if len(architectures) != 1:
        raise InvalidRequestError(
            f"[{', '.join(architectures)}]", "architectures", "Member must have length less than or equal to 1"
        )
    if architectures[0] not in {"x86_64", "arm64"}:
        raise InvalidRequestError(
            f"[{architectures[0]}]",
            "architectures",
            "Member must satisfy constraint: "
            "[Member must satisfy enum value set: [x86_64, arm64], Member must not be null]",
        )
    return architectures[0]


def _tracing(_operation: str, tracing: Members[str, Any]) -> str:
    return str(tracing.get("Mode") or "PassThrough")


def _dead_letter(operation: str, config: Members[str, Any]) -> str:
    target = str(config.get("TargetArn") or "")
    if target and not _QUEUE_OR_TOPIC.fullmatch(target):
        raise InvalidParameterValueError(f"The dead letter target ARN {target} is invalid.")
    if ":sns:" in target:
        raise OperationNotImplementedError(
            "lambda", operation, "DeadLetterConfig names a topic: only queues are honoured."
        )
    return target


SNAP_START_RUNTIMES: Final = re.compile(r"python3\.(1[2-9]|[2-9]\d)|java(11|17|[2-9]\d)|dotnet([89]|\d\d)")
"""AWS: "Supported features and limitations" of SnapStart: Python 3.12, Java 11, .NET 8 and later ones."""


def check_snap_start(function: Function) -> Function:
    """The function, if its runtime is one that AWS has SnapStart for, or it has none."""
    if function.snap_start and not SNAP_START_RUNTIMES.fullmatch(function.runtime):
        raise InvalidParameterValueError(f"{function.runtime} is not supported for SnapStart enabled functions.")
    return function


def _snap_start(_operation: str, config: Members[str, Any]) -> bool:
    return config.get("ApplyOn") == "PublishedVersions"


_SIMPLE: Final = (
    ("Role", "role", _role),
    ("Runtime", "runtime", check_runtime),
    ("Handler", "handler", _handler),
    ("Description", "description", _description),
    ("Timeout", "timeout_s", _timeout),
    ("MemorySize", "memory_mb", _memory),
    ("EphemeralStorage", "ephemeral_mb", _ephemeral),
    ("Architectures", "architecture", _architecture),
    ("TracingConfig", "tracing", _tracing),
    ("DeadLetterConfig", "dead_letter_arn", _dead_letter),
    ("SnapStart", "snap_start", _snap_start),
)


def _environment(variables: dict[str, str]) -> dict[str, str]:
    for key in variables:
        if not _VARIABLE.fullmatch(key):
            raise InvalidRequestError(
                "{" + ", ".join(f"{k}={v}" for k, v in variables.items()) + "}",
                "environment.variables",
                "Map keys must satisfy constraint: "
                "[Member must satisfy regular expression pattern: [a-zA-Z]([a-zA-Z0-9_])+, Member must not be null]",
            )
    reserved = [key for key in variables if key in RESERVED_VARIABLES]
    failed = (
        "Lambda was unable to configure your environment variables because the environment variables you have provided"
    )
    if reserved:
        raise InvalidParameterValueError(
            f"{failed} contains reserved keys that are currently not supported for modification. "
            f"Reserved keys used in this request: {', '.join(reserved)}"
        )
    measured = json.dumps(variables, separators=(",", ":"), ensure_ascii=False)
    if len(measured.encode()) > limits.ENVIRONMENT_MAX_BYTES:
        raise InvalidParameterValueError(f"{failed} exceeded the 4KB limit. String measured: {measured}")
    return variables


def logging_config(config: Members[str, Any], name: str) -> Logging:
    """LoggingConfig with AWS's defaults; levels belong to the JSON format alone, where INFO is the default of both."""
    form = config.get("LogFormat") or "Text"
    group = config.get("LogGroup") or f"/aws/lambda/{name}"
    application, system = config.get("ApplicationLogLevel") or "", config.get("SystemLogLevel") or ""
    if form == "JSON":
        return Logging(group, form, application or "INFO", system or "INFO")
    if application or system:
        raise InvalidParameterValueError("To specify a log level, you must use the JSON log format.")
    return Logging(group)


def check_tags(tags: Members[str, str]) -> None:
    if len(tags) > limits.TAGS_MAX:
        raise InvalidParameterValueError("Number of tags exceeds resource tag limit.")
    egress = tags.get(EGRESS_TAG, "")
    if egress not in EGRESS:
        raise InvalidParameterValueError(
            f"The tag {EGRESS_TAG}, which says where a function may connect to, is {egress}: it has to be one of "
            f"{', '.join(where for where in EGRESS if where)}."
        )
