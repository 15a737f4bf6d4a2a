"""What the service keeps: functions, their policies, queued invocations and event source mappings."""

from typing import Any

import msgspec

LATEST = "$LATEST"
"""The one version that exists in this release."""


class Package(msgspec.Struct, frozen=True):
    """A deployment package as it was uploaded."""

    sha256: str
    """Hexadecimal; the blob's name."""
    size_bytes: int
    sha256_base64: str
    """CodeSha256 as the API prints it."""


class Logging(msgspec.Struct, frozen=True):
    """LoggingConfig: where a function's output goes and in which form."""

    group: str
    format: str = "Text"
    application_level: str = ""
    """"" with Text, which has no levels."""
    system_level: str = ""


class Status(msgspec.Struct, frozen=True):
    """Where a function stands in its life cycle. A reason is "" when there is nothing to say."""

    state: str = "Active"
    reason: str = ""
    reason_code: str = ""
    update: str = "Successful"
    update_reason: str = ""
    update_reason_code: str = ""


class Function(msgspec.Struct, frozen=True, kw_only=True):
    """One function's $LATEST: configuration, code and status."""

    name: str
    account: str
    region: str
    partition: str
    role: str
    runtime: str
    handler: str
    package: Package
    logging: Logging
    revision: str
    modified_ms: int
    created_ms: int
    description: str = ""
    timeout_s: int = 3
    memory_mb: int = 128
    ephemeral_mb: int = 512
    architecture: str = "x86_64"
    environment: dict[str, str] | None = None
    tracing: str = "PassThrough"
    dead_letter_arn: str = ""
    tags: dict[str, str] = msgspec.field(default_factory=dict)
    status: Status = Status()
    reserved_concurrency: int | None = None

    @property
    def arn(self) -> str:
        """The unqualified function ARN."""
        return f"arn:{self.partition}:lambda:{self.region}:{self.account}:function:{self.name}"


class Policy(msgspec.Struct, frozen=True):
    """A function's resource policy: statements in the order in which they were added."""

    revision: str
    statements: list[dict[str, Any]]


class Event(msgspec.Struct, frozen=True):
    """An asynchronous invocation that was accepted and has no fate yet."""

    request_id: str
    payload: bytes
    accepted_ms: int
    attempts: int = 0
    """Times the function ran and failed."""
    throttles: int = 0
    """Times there was no capacity for it."""
    ready_ms: int = 0
    """Service time before which it is not tried again."""
    trace: str = ""
    client_context: str = ""
    last_error: str = ""
    """What the last failure answered, for the dead-letter queue."""


class Mapping(msgspec.Struct, frozen=True, kw_only=True):
    """An event source mapping from a queue to a function."""

    uuid: str
    account: str
    region: str
    partition: str
    source_arn: str
    function_arn: str
    """As the API prints it: unqualified unless the caller named a qualifier."""
    batch_size: int
    window_s: int
    enabled: bool
    state: str
    modified_ms: int
    report_failures: bool = False
    maximum_concurrency: int | None = None
    reason: str = "USER_INITIATED"
    tags: dict[str, str] = msgspec.field(default_factory=dict)

    @property
    def arn(self) -> str:
        return f"arn:{self.partition}:lambda:{self.region}:{self.account}:event-source-mapping:{self.uuid}"
