"""What the function runtime offers to whoever owns functions, and what it asks of them.

The one implementation is `tule.runtime.functions.Functions`. Times are machine time: a function's timeout, its deadline
and its measured durations never follow a service clock that somebody paused or advanced.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol

import msgspec

from tule.kernel.ports import BlobRef
from tule.runtime.cold_starts import VersionStarts

MAX_RESPONSE_BYTES = 6_291_556
"""AWS: the largest synchronous response, which is 6 MiB and the 100 bytes of an envelope."""

MAX_UNZIPPED_BYTES = 262_144_000
"""AWS: a package, unzipped."""

LOG_TAIL_BYTES = 4 * 1024
"""AWS: LogType Tail gives the last 4 KB."""

STREAM_WITH_PRELUDE = "application/vnd.awslambda.http-integration-response"
"""Content type of a streamed response that begins with JSON (status, headers, cookies) and eight NUL bytes."""

INIT_LIMIT_S = 10.0
"""AWS: the init phase; what takes longer goes on within the function's own timeout."""


@dataclass(frozen=True, slots=True)
class RoleSession:
    """Credentials of an execution role, as an instance gets them in its environment."""

    access_key_id: str
    secret_access_key: str
    session_token: str
    expires_ms: int
    """Machine time (`MachineClock.wall_ms`). An instance that is older is replaced before its next request."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class FunctionVersion:
    """What instances are made of. The same `arn`, `version` and `revision` mean the same in every other field."""

    arn: str
    """The unqualified function ARN."""
    name: str
    version: str
    """"$LATEST" or a number."""
    account: str
    region: str
    runtime: str
    """AWS's identifier: python3.13, nodejs22.x."""
    handler: str
    memory_mb: int
    timeout_s: int
    code: str
    """The SHA-256 that `FunctionRuntime.unpack` returned: the package is unpacked once and shared read-only."""
    revision: str
    """Changes with every change of code or configuration; instances of an older one are retired."""
    log_group: str
    log_format: str = "Text"
    """Text or JSON, as AWS's LoggingConfig has it."""
    application_level: str = ""
    """With JSON: the least severe of what the function says that is kept, TRACE to FATAL."""
    system_level: str = ""
    """With JSON: the same for what is said about the function, DEBUG to WARN."""
    credentials: Callable[[], RoleSession]
    """Asked whenever an instance starts."""
    environment: Mapping[str, str] = field(default_factory=dict)
    layers: tuple[str, ...] = ()
    snap_start: bool = False
    """Start instances from a snapshot that `prepare` takes of this version, initialised."""
    architecture: str = "x86_64"
    ephemeral_mb: int = 512
    egress: Literal["", "all", "tule-only", "none"] = ""
    """Where its instances' connections may lead: anywhere but to this machine, to Tule alone, or nowhere; "" for what
    Tule was told for all."""
    concurrency: int | None = None
    """Most instances at once, or None for the runtime's own cap."""
    provisioned: int = 0
    """Instances kept initialised ahead of requests. Like `concurrency` it may change for the same `key`: the newest
    version given to `prepare` or `invoke` counts."""

    debug_port: int = 0
    """Where instances listen for a debugger before they load the function's code; 0 when it is not debugged. No time
    limit holds for one that is."""

    @property
    def key(self) -> tuple[str, str, str]:
        """What tells pools apart."""
        return (self.arn, self.version, self.revision)


class Phase(msgspec.Struct, frozen=True, gc=False):
    """A part of an invocation, for spans: "start" (until an instance was there), "init", "handler"."""

    name: str
    start_us: int
    end_us: int
    """Microseconds since the epoch, machine time."""


class InvokeOutcome(msgspec.Struct, frozen=True, kw_only=True):
    """What became of one invocation."""

    payload: bytes
    """The function's answer, or AWS's JSON of the error."""
    error: Literal["Unhandled", "Handled"] | None
    """What X-Amz-Function-Error says. (AWS answers "Unhandled" for every failure of today's runtimes.)"""
    error_type: str
    """errorType of a failure, else ""."""
    tail: Callable[[], bytes]
    """The last 4 KB of the log, START and REPORT lines included. Made when asked for: few ask."""
    duration_ms: float
    billed_ms: int
    init_ms: float | None
    """Time of the init phase if this invocation caused it."""
    max_memory_mb: int
    cold: bool
    phases: Sequence[Phase]
    log_stream: str = ""

    @property
    def log_tail(self) -> bytes:
        return self.tail()


@dataclass(frozen=True, slots=True)
class InstanceInfo:
    """One execution environment, for people."""

    id: str
    function_arn: str
    """"" for one that is parked: ready but without code."""
    version: str
    runtime: str
    state: Literal["starting", "parked", "idle", "busy", "snapshot"]
    pid: int
    """As the runner's process namespace has it; 0 while starting."""
    invocations: int
    pss_kb: int
    """Memory that is its own: shared pages counted by their share. 0 where the kernel does not say."""
    started_ms: int


@dataclass(frozen=True, slots=True)
class DebugInfo:
    """A function that is debugged, for who attaches a debugger."""

    port: int
    """On this machine's loopback."""
    debugger: Literal["debugpy", "inspector"]
    code_root: str
    """Where its code lies, as the debugger sees it; "" if that differs from instance to instance."""


@dataclass(frozen=True, slots=True)
class Provisioned:
    """How far the instances that a version keeps ahead of requests have come."""

    ready: int = 0
    """Initialised: idle or at work."""
    allocated: int = 0
    """Those that are still initialising too."""
    reason: str = ""
    """Why there are fewer than wanted and no more are about to come, or ""."""


class ResponseSink(Protocol):
    """Takes a response as the function writes it. A function that does not stream never calls it."""

    content_type: str
    """What the runtime said the response is, set before the first chunk: STREAM_WITH_PRELUDE or any other type."""

    async def __call__(self, chunk: bytes) -> None:
        """The next part of the response; returns when more may come."""


@dataclass(frozen=True, slots=True)
class SnapshotOutcome:
    """Whether instances of a version start from a snapshot."""

    reason: str = ""
    """Why they don't, for people; "" if they do."""
    error_type: str = ""
    """With a reason: a StateReasonCode of AWS's if the function's own init failed, so that the version can't serve."""
    error_message: str = ""
    init_ms: float = 0.0


class RestoreFailedError(Exception):
    """An instance was not restored: an after-restore hook failed (AWS's SnapStartException)."""


class RestoreTimeoutError(Exception):
    """An instance was not restored in time (AWS's SnapStartTimeoutException)."""


class NoCapacityError(Exception):
    """There is no instance free and none may be started: the caller is throttled (429)."""

    def __init__(self, reason: str = "ConcurrentInvocationLimitExceeded") -> None:
        super().__init__(reason)
        self.reason = reason
        """What AWS's TooManyRequestsException says in its Reason."""


class RuntimeUnavailableError(Exception):
    """The host can't run this function, and the message says what is missing. Not the function's fault."""


class PackageError(Exception):
    """A deployment package that is refused, in AWS's words."""


class UnpackingError(Exception):
    """A package was not unpacked for reasons that are ours, not its own: another attempt may succeed."""


class FunctionRuntime(Protocol):
    """Runs functions, outside Tule's own process."""

    async def start(self) -> None:
        """Nothing is started yet that functions need: the runner comes with the first function."""

    async def stop(self) -> None:
        """End every instance and the runner."""

    async def unpack(self, package: BlobRef, path: str) -> str:
        """Unpack the zip at `path`, once; the name to give as `FunctionVersion.code`. Refuses with `PackageError`;
        raises `UnpackingError` when the fault is not the package's.

        Done in a process with limits on memory, time and size: the zip is a stranger's.
        """

    def unpacked_bytes(self, code: str) -> int:
        """The size of the files of a package that `unpack` named."""

    async def prepare(self, version: FunctionVersion) -> None:
        """A version exists: start what serves all functions of its runtime (zygote, parked instances), and keep as many
        instances initialised as `version.provisioned` says from now on, without waiting for them."""

    async def snapshot(self, version: FunctionVersion) -> SnapshotOutcome:
        """Take the snapshot of a version with `snap_start`, unless there is one. A reason why there can be none is no
        failure: instances then run their own init."""

    def provisioned(self, arn: str, version: str) -> Provisioned:
        """What has become of a version's provisioned instances."""

    def watch_provisioned(self, listener: Callable[[str, str], None]) -> None:
        """Have `listener(arn, version)` called whenever `provisioned(arn, version)` has changed."""

    async def invoke(  # noqa: PLR0913 - options, by name
        self,
        version: FunctionVersion,
        payload: bytes,
        *,
        request_id: str,
        trace_header: str,
        client_context: str | None = None,
        invoked_arn: str = "",
        response: ResponseSink | None = None,
    ) -> InvokeOutcome:
        """Run the function once. `client_context` is the header's base64 text; `invoked_arn` as the caller named it.
        What a streaming function writes goes to `response`, and the outcome's payload is then empty or the error's.

        Raises `NoCapacityError`, `RuntimeUnavailableError` and, with `snap_start`, `RestoreFailedError` and
        `RestoreTimeoutError`; every other failure of the function is an outcome.
        """

    async def retire(self, function_arn: str, version: str | None = None, *, keep_revision: str = "") -> None:
        """Instances of the function (of one version, of other revisions) end as soon as they are idle."""

    def instances(self) -> list[InstanceInfo]: ...

    async def debug(self, function_arn: str, runtime: str, port: int, held_s: float) -> DebugInfo:
        """Have the function's next instances wait for a debugger at `port` of this machine's loopback (0: any), for
        `held_s` seconds unless asked again. Raises `RuntimeUnavailableError`, and OSError when the port is taken."""

    async def stop_debugging(self, function_arn: str) -> None:
        """Its next instances are as ever."""

    def cold_starts(self, function: str, version: str = "") -> list[VersionStarts]:
        """Recent cold starts of a function (ARN, or a name in whichever account and region), by version."""

    def rung(self) -> str:
        """What confines functions on this machine, in words."""

    def nearest(self, runtime: str) -> str:
        """What the host runs `runtime` on, as a warning for people; "" when it is that version itself."""
