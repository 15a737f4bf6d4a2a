"""An asynchronous invocation as it waits: what was asked, what came of it so far, and who is still to be told."""

import msgspec

SUCCESS = "Success"
RETRIES_EXHAUSTED = "RetriesExhausted"
AGE_EXCEEDED = "EventAgeExceeded"
ZERO_CONCURRENCY = "ZeroReservedConcurrency"
RECURSIVE = "RecursiveInvocation"


class Response(msgspec.Struct, frozen=True):
    """What the last attempt was answered."""

    status: int
    """200 whenever the function ran, however it ended; else that of the service's refusal."""
    version: str = ""
    """The version that ran."""
    error: str = ""
    """"" or Unhandled; the code of the service's refusal if nothing ran."""
    payload: bytes = b""
    message: str = ""
    """A refusal's message."""


class Target(msgspec.Struct, frozen=True):
    """Where an event's end is told."""

    arn: str
    dead_letter: bool = False
    """The function's dead-letter queue gets the event; a destination gets a record about it."""


class Conclusion(msgspec.Struct, frozen=True, kw_only=True):
    """That an event has ended, kept until everybody who is to be told was."""

    condition: str
    at_ms: int
    targets: tuple[Target, ...]
    """Those that have not taken it yet."""
    taken: bool = False
    """Whether any target took it."""
    refusal: str = ""
    """Why a target never will."""
    tries: int = 0


class Event(msgspec.Struct, frozen=True):
    """An asynchronous invocation that was accepted and has no fate yet."""

    request_id: str
    payload: bytes
    accepted_ms: int
    attempts: int = 0
    """Times the function ran."""
    throttles: int = 0
    """Times it could not: no capacity, or trouble of ours."""
    ready_ms: int = 0
    """Service time before which it is not tried again."""
    trace: str = ""
    client_context: str = ""
    qualifier: str = ""
    """The version or alias that was called; "" is $LATEST."""
    response: Response | None = None
    conclusion: Conclusion | None = None
