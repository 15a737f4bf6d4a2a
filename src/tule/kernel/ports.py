"""Interfaces through which lower layers and services reach what only `app` knows. Wired in `tule.app`."""

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from tule.kernel.context import Principal, RequestContext, TraceContext
from tule.kernel.faults import FaultPoints


@dataclass(frozen=True, slots=True)
class AccessKey:
    """A key Tule minted: what signature checks and identity need of it."""

    access_key_id: str
    secret: str
    account: str
    principal: Principal
    session_token: str = ""
    expires_ms: int | None = None
    """Machine time after which the key answers ExpiredToken."""


class Credentials(Protocol):
    """Keys that Tule minted. Look-ups are in memory: they are on every request's path."""

    def find(self, access_key_id: str) -> AccessKey | None: ...

    def remember(self, key: AccessKey) -> None: ...

    def forget(self, access_key_id: str) -> None: ...


@dataclass(frozen=True, slots=True)
class Span:
    """One hop of one trace, finished. Times are machine time in microseconds since the epoch."""

    trace: TraceContext
    name: str
    """What a person would call it: "sqs:SendMessage orders", "function orders-api", "queue wait"."""
    kind: str
    """api, queue, poller, init, handler, table, retry, dead-letter, edge."""
    start_us: int
    end_us: int
    account: str
    region: str
    resource: str = ""
    """ARN or name of what the hop was about."""
    status: str = "ok"
    """ok, or the error's code."""
    request_id: str = ""
    units: Sequence[tuple[str, float]] = ()
    """What is paid for: (meter, quantity), e.g. ("sqs.requests", 1). The price book turns it into money."""
    notes: Sequence[tuple[str, str]] = ()


class Spans(Protocol):
    """Relaxed durability: never delays an answer, bounded, says what it shed."""

    def record(self, span: Span) -> None: ...


class LogSink(Protocol):
    """Function output on its way to CloudWatch Logs; relaxed durability."""

    def write(self, account: str, region: str, group: str, stream: str, events: Sequence[tuple[int, str]]) -> None:
        """Append (timestamp in ms, message) pairs; the group and stream come into being with their first event."""


@dataclass(frozen=True, slots=True)
class BlobRef:
    """Bytes in the blob store, by content."""

    sha256: str
    size_bytes: int


class Blobs(Protocol):
    """Content-addressed files: durable when `put` returns."""

    async def put(self, data: bytes | AsyncIterator[bytes]) -> BlobRef: ...

    async def get(self, ref: BlobRef) -> bytes: ...

    def read(self, ref: BlobRef, start: int = 0, end: int | None = None) -> AsyncIterator[bytes]: ...

    def path(self, ref: BlobRef) -> str:
        """Where the file lies, for processes that unpack or map it."""


class Dispatcher(Protocol):
    """The gateway's chain for calls from inside."""

    async def call(
        self, context: RequestContext, service: str, operation: str, parameters: dict[str, Any]
    ) -> dict[str, Any]:
        """Run an operation (model name) as if it had come from outside, in the name of `context`."""


@dataclass(slots=True)
class Ports:
    """What `app` wires."""

    credentials: Credentials
    spans: Spans
    logs: LogSink
    blobs: Blobs
    faults: FaultPoints
    function_url: str = ""
    """Base URL of the listener that functions see; it has no admin API."""
    public_url: str = ""
    """Base URL for what background work puts into messages."""
    home: str = ""
    """Tule's directory, for packages and sockets; "" in memory mode gets a temporary one."""
    functions: Any = None
    """What runs functions: a `tule.runtime.contract.FunctionRuntime`, which the kernel can't name."""
    verify_signatures: bool = False
    """Whether requests of keys that nobody minted are refused."""
