"""What one listener puts up with, and what it says to the rest."""

from dataclasses import dataclass

from tule.kernel import limits


@dataclass(frozen=True, slots=True)
class ServerLimits:
    """Sizes in bytes, times in seconds of machine time. Those without a source elsewhere are our own choice."""

    header_bytes: int = limits.MAX_HEADER_BYTES
    body_bytes: int = limits.MAX_BUFFERED_BODY_BYTES
    all_bodies_bytes: int = 512 * 1024 * 1024
    """Buffered bodies of all connections together; beyond it a request that goes on buffering gets 503."""
    connections: int = limits.MAX_CONNECTIONS
    header_s: float = limits.HEADER_TIMEOUT_S
    idle_s: float = limits.IDLE_TIMEOUT_S
    stall_s: float = 60.0
    """Without a byte of an unfinished body, or without room for a byte of an answer (nginx has 60 for both)."""
    linger_s: float = 2.0
    """How long input is thrown away after a refusal, so that the client reads the refusal and no reset."""
    pipelined: int = 4
    """Requests that wait on one connection before its reading pauses."""
    stream_high_bytes: int = 256 * 1024
    """Unread bytes of a streamed body at which reading pauses; it goes on at a quarter of them."""


REFUSALS = {
    400: b"The request is not HTTP/1.1 as RFC 9112 has it.\n",
    405: b"CONNECT is for proxies, and this is none.\n",
    413: b"The body is larger than this server takes.\n",
    431: b"The header lines are larger than this server takes.\n",
    503: b"Too many connections, or too many large bodies at once. Try again in a moment.\n",
}
