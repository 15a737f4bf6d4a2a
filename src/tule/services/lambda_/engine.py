"""The seam to the function runtime: functions as it knows them, and its outcomes and refusals in Lambda's words."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from hashlib import sha256
from typing import TYPE_CHECKING, Final, Literal

import msgspec
from msgspec.structs import replace

from tule.kernel.context import TraceContext
from tule.kernel.errors import AwsError
from tule.kernel.ports import BlobRef, Span
from tule.runtime.contract import (
    FunctionRuntime,
    FunctionVersion,
    InvokeOutcome,
    NoCapacityError,
    PackageError,
    Provisioned,
    RestoreFailedError,
    RestoreTimeoutError,
    RoleSession,
    RuntimeUnavailableError,
    UnpackingError,
)
from tule.services.declaration import Environment
from tule.services.lambda_.lineage import advanced
from tule.services.lambda_.models import LATEST, Function, Package, Status
from tule.services.lambda_.names import InvalidParameterValueError, ServiceFaultError
from tule.services.lambda_.roles import RoleSessions
from tule.services.lambda_.throttling import TooManyRequestsError
from tule.services.lambda_.usage import REQUESTS, duration_meter

if TYPE_CHECKING:
    from tule.services.lambda_.execution import Invocation
    from tule.services.lambda_.resolution import Resolved


@dataclass(frozen=True, slots=True)
class Outcome:
    """How an invocation ended."""

    payload: bytes
    error: str
    """"" or what X-Amz-Function-Error says."""
    tail: Callable[[], bytes]
    """The last 4 KB of the log."""
    billed_ms: int


class RuntimeMissingError(AwsError):
    """What the host lacks, as AWS's error for a function whose runtime can't be used."""

    code = "InvalidRuntimeException"
    status = 502

    def __init__(self, message: str) -> None:
        super().__init__(message, members={"Type": "User"})


EGRESS_TAG: Final = "tule:egress"
SNAP_START_TAG: Final = "tule:snap-start"
"""Tags by which instances are made. The second gives $LATEST a snapshot, which AWS has for versions alone."""

EGRESS: Final[Mapping[str, Literal["", "all", "tule-only", "none"]]] = {
    "": "", "all": "all", "tule-only": "tule-only", "none": "none",
}  # fmt: skip


def behaviour(tags: Mapping[str, str]) -> dict[str, str]:
    """Those of a function's tags that its instances are made by."""
    return {name: tags[name] for name in (EGRESS_TAG, SNAP_START_TAG) if name in tags}


class SnapStartError(AwsError):
    """A restored instance's hooks failed."""

    code = "SnapStartException"
    status = 400

    def __init__(self) -> None:
        super().__init__(
            "The afterRestore() runtime hook encountered an error. For more information, check the Amazon CloudWatch"
            " logs.",
            members={"Type": "User"},
        )


class SnapStartTimeoutError(AwsError):
    """A restored instance was not ready in time."""

    code = "SnapStartTimeoutException"
    status = 408

    def __init__(self) -> None:
        super().__init__("Lambda couldn't restore the snapshot within the timeout limit.", members={"Type": "User"})


def instance_revision(function: Function) -> str:
    """A digest of all that an instance is made of: instances of another one must not serve this function."""
    relevant = replace(
        function, version="", revision="", modified_ms=0, status=Status(), tags=behaviour(function.tags),
        description="", dead_letter_arn="", tracing="", reserved_concurrency=None, code_signing_arn="",
        origin="",
    )  # fmt: skip
    return sha256(msgspec.msgpack.encode(relevant)).hexdigest()[:32]


@dataclass(frozen=True, slots=True)
class Prepared:
    """What became of preparing a version."""

    reason: str = ""
    """Why it can't serve, or ""."""
    reason_code: str = ""
    optimized: bool = False
    """Whether instances start from a snapshot."""


class Engine:
    """Talks to the function runtime."""

    def __init__(self, env: Environment, roles: RoleSessions) -> None:
        self._env = env
        self._roles = roles

    @property
    def _runtime(self) -> FunctionRuntime:
        runtime: FunctionRuntime | None = self._env.ports.functions
        if runtime is None:
            raise RuntimeMissingError("This Tule was started without a function runtime.")
        return runtime

    async def unpack(self, package: Package) -> str:
        """Unpack a stored package, which does nothing the second time. Refuses what is no package in AWS's words."""
        ref = BlobRef(package.sha256, package.size_bytes)
        try:
            return await self._runtime.unpack(ref, self._env.ports.blobs.path(ref))
        except PackageError as error:
            raise InvalidParameterValueError(str(error)) from error
        except UnpackingError as error:
            raise ServiceFaultError(f"The package could not be unpacked, for no fault of its own: {error}") from error

    async def unzipped_bytes(self, package: Package) -> int:
        """The size of a stored package's files."""
        return self._runtime.unpacked_bytes(await self.unpack(package))

    async def version(self, function: Function, provisioned: int = 0) -> FunctionVersion:
        """What the runtime makes instances of, `provisioned` of them ahead of requests."""

        def credentials() -> RoleSession:
            key = self._roles.of(function)
            return RoleSession(key.access_key_id, key.secret, key.session_token, key.expires_ms or 0)

        return FunctionVersion(
            arn=function.arn,
            name=function.name,
            version=function.version,
            account=function.account,
            region=function.region,
            runtime=function.runtime,
            handler=function.handler,
            memory_mb=function.memory_mb,
            timeout_s=function.timeout_s,
            code=await self.unpack(function.package),
            revision=instance_revision(function),
            log_group=function.logging.group,
            log_format=function.logging.format,
            application_level=function.logging.application_level,
            system_level=function.logging.system_level,
            credentials=credentials,
            environment=function.environment or {},
            architecture=function.architecture,
            ephemeral_mb=function.ephemeral_mb,
            layers=tuple([await self.unpack(layer.package) for layer in function.layers]),
            snap_start=self._snap_starts(function),
            egress=EGRESS[function.tags.get(EGRESS_TAG, "")],
            concurrency=function.reserved_concurrency or None,
            provisioned=provisioned,
        )

    @staticmethod
    def _snap_starts(function: Function) -> bool:
        if function.version == LATEST:
            return function.tags.get(SNAP_START_TAG) == "on"
        return function.snap_start

    async def prepare(self, version: FunctionVersion) -> Prepared:
        """Start what serves the version, and take its snapshot if it is to have one."""
        try:
            await self._runtime.prepare(version)
            if not version.snap_start:
                return Prepared()
            snapshot = await self._runtime.snapshot(version)
        except RuntimeUnavailableError as error:
            return Prepared(str(error), "InternalError")
        if snapshot.error_type:
            return Prepared(snapshot.error_message, snapshot.error_type)
        return Prepared(optimized=not snapshot.reason)

    def provisioned(self, arn: str, version: str) -> Provisioned:
        """How far the instances are that a version keeps ahead of requests."""
        return self._runtime.provisioned(arn, version)

    def retire(self, arn: str, version: str | None = None, keep_revision: str = "") -> None:
        """Let instances end as soon as they are idle: of all versions or one, all or those of other revisions."""
        runtime = self._env.ports.functions
        if runtime is not None:
            self._env.tasks.spawn(f"retire {arn}", runtime.retire(arn, version, keep_revision=keep_revision))

    async def invoke(self, resolved: "Resolved", invocation: "Invocation") -> Outcome:
        """Run a function once and record its spans. What the function calls is below its own span."""
        function = resolved.function
        own = invocation.trace.child(self._env.random)
        own.lineage = advanced(own.lineage, resolved.mark)
        try:
            outcome = await self._runtime.invoke(
                resolved.version,
                invocation.payload,
                request_id=invocation.request_id,
                trace_header=own.header(),
                client_context=invocation.client_context or None,
                invoked_arn=f"{function.arn}:{invocation.qualifier}" if invocation.qualifier else function.arn,
                response=invocation.response,
            )
        except NoCapacityError as error:
            raise TooManyRequestsError(error.reason) from None
        except RuntimeUnavailableError as error:
            raise RuntimeMissingError(str(error)) from error
        except RestoreFailedError as error:
            raise SnapStartError from error
        except RestoreTimeoutError as error:
            raise SnapStartTimeoutError from error
        # Off the caller's way: the answer goes out first.
        self._env.machine.call_later(0, lambda: self._record(resolved, invocation, outcome, own))
        return Outcome(outcome.payload, outcome.error or "", outcome.tail, outcome.billed_ms)

    def _record(
        self, resolved: "Resolved", invocation: "Invocation", outcome: InvokeOutcome, own: TraceContext
    ) -> None:
        """One span for the function, priced, and one below it for each phase of a cold start."""
        phases = outcome.phases
        if not phases:
            return
        function, record = resolved.function, self._env.ports.spans.record
        used = (duration_meter(function), outcome.billed_ms * function.memory_mb)
        notes = (("cold", "yes"), ("log", outcome.log_stream)) if outcome.cold else (("log", outcome.log_stream),)
        record(
            Span(
                own, resolved.span_name, "handler", phases[0].start_us, phases[-1].end_us, function.account,
                function.region, function.arn, outcome.error_type or "ok", invocation.request_id,
                ((REQUESTS, 1), used), notes,
            )
        )  # fmt: skip
        if outcome.cold:
            for phase in phases:
                if phase.name != "handler":
                    record(
                        Span(
                            own.child(self._env.random), f"{phase.name} {function.name}", "init", phase.start_us,
                            phase.end_us, function.account, function.region, function.arn,
                        )
                    )  # fmt: skip
