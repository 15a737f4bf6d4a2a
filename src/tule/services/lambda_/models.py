"""What the service keeps: functions, their policies, queued invocations and event source mappings."""

from typing import Any

import msgspec

LATEST = "$LATEST"
"""The version that can be changed; all others are numbers."""


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
    optimized: bool = False
    """Whether a snapshot was taken of a version with SnapStart."""


class LayerUse(msgspec.Struct, frozen=True):
    """A layer version that a function uses. The package is kept here, so that deleting the layer breaks no function."""

    arn: str
    package: Package


class Function(msgspec.Struct, frozen=True, kw_only=True):
    """One version of a function: configuration, code and status. Tags and reservation are the function's as a whole."""

    name: str
    version: str = LATEST
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
    layers: tuple[LayerUse, ...] = ()
    snap_start: bool = False
    """ApplyOn=PublishedVersions."""
    code_signing_arn: str = ""
    origin: str = ""
    """Of a published version: the digest of what $LATEST was then."""

    @property
    def arn(self) -> str:
        """The unqualified function ARN."""
        return f"arn:{self.partition}:lambda:{self.region}:{self.account}:function:{self.name}"

    @property
    def version_arn(self) -> str:
        """The ARN of this version."""
        return f"{self.arn}:{self.version}"


class Alias(msgspec.Struct, frozen=True, kw_only=True):
    """A name for one version of a function, or for two that share its traffic."""

    name: str
    version: str
    revision: str
    description: str = ""
    weights: dict[str, float] = msgspec.field(default_factory=dict)
    """The additional version and its part of the traffic; at most one."""

    def pick(self, fraction: float) -> str:
        """The version that serves a call, by a random number from 0 up to 1."""
        for version, weight in self.weights.items():
            if fraction < weight:
                return version
        return self.version


class Provisioned(msgspec.Struct, frozen=True):
    """Provisioned concurrency of a version or an alias."""

    qualifier: str
    requested: int
    modified_ms: int

    def share(self, alias: Alias | None, version: str) -> int:
        """How many of these instances `version` gets: by weight, as AWS allocates them to an alias's two versions."""
        if alias is None:
            return self.requested if self.qualifier == version else 0
        additional = {name: round(self.requested * weight) for name, weight in alias.weights.items()}
        if version in additional:
            return additional[version]
        return self.requested - sum(additional.values()) if alias.version == version else 0


class Layer(msgspec.Struct, frozen=True, kw_only=True):
    """One version of a layer."""

    name: str
    version: int
    account: str
    region: str
    partition: str
    package: Package
    created_ms: int
    unzipped_bytes: int
    description: str = ""
    license: str = ""
    runtimes: tuple[str, ...] = ()
    architectures: tuple[str, ...] = ()

    @property
    def layer_arn(self) -> str:
        return f"arn:{self.partition}:lambda:{self.region}:{self.account}:layer:{self.name}"

    @property
    def arn(self) -> str:
        """The version's."""
        return f"{self.layer_arn}:{self.version}"


class Policy(msgspec.Struct, frozen=True):
    """A resource policy of a function, one of its versions or aliases, or a layer version: statements in the order in
    which they were added."""

    revision: str
    statements: list[dict[str, Any]]


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
