"""HTTP messages as every layer above the socket sees them."""

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field

Headers = list[tuple[str, str]]


@dataclass(slots=True)
class HttpRequest:
    """A request whose head has been read. `headers` has lower-case names; repeated ones are joined by ", ".

    `body` is complete for bodies up to the server's buffering limit; larger ones, where the route asked for it, come
    by `stream` and `body` is empty.
    """

    method: str
    target: str
    """As on the request line: path and query, undecoded."""
    path: str
    """The target's path, still percent-encoded."""
    query: str
    """The target's query without "?", undecoded."""
    headers: Mapping[str, str]
    body: bytes = b""
    stream: AsyncIterator[bytes] | None = None
    peer: str = "127.0.0.1"
    scheme: str = "http"
    listener: str = "public"
    """Which of Tule's listeners it came by: "public" or "functions"."""


@dataclass(slots=True)
class HttpResponse:
    """An answer. `stream`, when set, follows `body` and is sent chunked unless `headers` has a content-length."""

    status: int
    headers: Headers = field(default_factory=list)
    body: bytes = b""
    stream: AsyncIterator[bytes] | None = None
