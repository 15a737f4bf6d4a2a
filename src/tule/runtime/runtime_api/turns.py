"""Whose turn it is between Tule and a runtime that asks for its work: the Runtime API's state, and its operations."""

from base64 import b64decode
from binascii import Error as Base64Error
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, Final

import msgspec

from tule.net.body import BodyStream, ClientGoneError
from tule.net.exchange import Exchange
from tule.net.messages import HttpRequest, HttpResponse
from tule.runtime.contract import MAX_RESPONSE_BYTES
from tule.runtime.runtime_api import rendering

STARTED: Final = "Started"
INIT_ERROR: Final = "InitError"
READY: Final = "Ready"
RESPONSE: Final = "InvocationResponse"
ERROR_RESPONSE: Final = "InvocationErrorResponse"
SENT: Final = "ResponseSent"
"""AWS's names of a runtime's states."""

ERROR_TYPE: Final = "lambda-runtime-function-error-type"
ERROR_BODY: Final = "lambda-runtime-function-error-body"
RESPONSE_MODE: Final = "lambda-runtime-function-response-mode"
ERROR_MAX_BYTES: Final = MAX_RESPONSE_BYTES
DEFAULT_TYPE: Final = "application/octet-stream"


@dataclass(slots=True)
class Answer:
    """What a runtime made of a request."""

    error: str = ""
    """The error's type, "" for none."""
    body: bytes = b""
    streamed: bool = False


@dataclass(slots=True)
class Work:
    """One request for a runtime."""

    request_id: str
    headers: list[tuple[str, str]]
    payload: bytes
    answer: Answer | None = None
    taken: bool = False


@dataclass(slots=True)
class Turns:
    """The runtime's state. `changed` is called whenever something happened that somebody may wait for."""

    changed: Callable[[], None]
    on_chunk: Callable[[str, bytes], Awaitable[None]]
    """Takes a part of a streamed response, with its content type, and returns when there is room for more."""
    state: str = STARTED
    work: Work | None = None
    init_error: Answer | None = None
    _following: Work | None = None
    _waiting: list[Exchange] = field(default_factory=list)

    @property
    def ready(self) -> bool:
        """Whether the runtime has finished its init phase."""
        return self.state not in (STARTED, INIT_ERROR)

    def restart(self) -> None:
        """Another process is about to be the runtime."""
        self.state, self.init_error, self.work, self._following = STARTED, None, None, None
        self._waiting.clear()

    # -- requests out

    def give(self, work: Work) -> None:
        """A request: answered to who waits, or to who asks next."""
        if self.work is not None:
            self._following = work  # the one before it is over when the runtime asks for another
            return
        self.work = work
        while self._waiting:
            exchange = self._waiting.pop(0)
            if not exchange.gone:
                self._hand_out(exchange)
                return

    def next(self, exchange: Exchange) -> None:
        """GET /runtime/invocation/next."""
        if self.state in (INIT_ERROR, RESPONSE, ERROR_RESPONSE):
            exchange(rendering.invalid_transition(self.state, READY))
            return
        if self.work is not None and self.work.answer is not None:
            self.work, self._following = self._following, None
        self.state = READY
        if self.work is not None:
            self._hand_out(exchange)
        else:
            self._waiting.append(exchange)
        self.changed()

    def _hand_out(self, exchange: Exchange) -> None:
        work = self.work
        assert work is not None
        work.taken = True
        exchange(HttpResponse(200, work.headers, work.payload))

    # -- answers in

    def _turn(self, request_id: str, wanted: str) -> HttpResponse | None:
        """Enter `wanted`, or say why not."""
        if self.work is None or self.work.request_id != request_id:
            return rendering.invalid_request_id()
        if self.state != READY or not self.work.taken:
            return rendering.invalid_transition(self.state, wanted)
        self.state = wanted
        return None

    def _answered(self, answer: Answer) -> None:
        assert self.work is not None
        self.state = SENT
        self.work.answer = answer
        self.changed()

    async def response(self, request_id: str, request: HttpRequest, trailers: dict[str, str]) -> HttpResponse:
        """POST /runtime/invocation/{id}/response."""
        mode = request.headers.get(RESPONSE_MODE, "")
        if mode not in ("", "streaming"):
            return rendering.invalid_response_mode()
        refused = self._turn(request_id, RESPONSE)
        if refused is not None:
            return refused
        work = self.work
        if mode:
            answer = await self._stream(request, trailers)
        else:
            body = await _read(request, MAX_RESPONSE_BYTES)
            if isinstance(body, HttpResponse):
                told = {
                    "errorType": "Function.ResponseSizeTooLarge",
                    "errorMessage": "Response payload size exceeded maximum allowed payload size "
                    f"({MAX_RESPONSE_BYTES} bytes).",
                }
                answer = Answer(told["errorType"], msgspec.json.encode(told))
                if self.work is work:
                    self._answered(answer)
                return body
            answer = Answer(body=body)
        if self.work is work and self.state == RESPONSE:
            self._answered(answer)
        return rendering.accepted()

    async def _stream(self, request: HttpRequest, trailers: dict[str, str]) -> Answer:
        kind = request.headers.get("content-type", DEFAULT_TYPE)
        try:
            if isinstance(request.stream, BodyStream):
                async for chunk in request.stream:
                    await self.on_chunk(kind, chunk)
            elif request.body:
                await self.on_chunk(kind, request.body)
        except ClientGoneError:
            told = {"errorType": "Runtime.TruncatedResponse", "errorMessage": "Response stream was truncated"}
            return Answer(told["errorType"], msgspec.json.encode(told), streamed=True)
        error = trailers.get(ERROR_TYPE, "")
        body = trailers.get(ERROR_BODY, "")
        if not error and not body:
            return Answer(streamed=True)
        try:
            told_body = b64decode(body, validate=True)
        except (Base64Error, ValueError):
            told_body = body.encode()
        return Answer(error or "Runtime.Unknown", told_body, streamed=True)

    async def error(self, request_id: str, request: HttpRequest) -> HttpResponse:
        """POST /runtime/invocation/{id}/error."""
        refused = self._turn(request_id, ERROR_RESPONSE)
        if refused is not None:
            return refused
        body = await _read(request, ERROR_MAX_BYTES)
        if isinstance(body, HttpResponse):
            return body
        self._answered(Answer(_error_type(request, body), body))
        return rendering.accepted()

    async def failed_init(self, request: HttpRequest) -> HttpResponse:
        """POST /runtime/init/error."""
        if self.state != STARTED:
            return rendering.invalid_transition(self.state, INIT_ERROR)
        body = await _read(request, ERROR_MAX_BYTES)
        if isinstance(body, HttpResponse):
            return body
        self.state = INIT_ERROR
        self.init_error = Answer(_error_type(request, body), body)
        self.changed()
        return rendering.accepted()


def headers_of(head: dict[str, Any], deadline_ms: int) -> list[tuple[str, str]]:
    """What the Runtime API says of a request."""
    headers = [
        ("Content-Type", "application/json"),
        ("Lambda-Runtime-Aws-Request-Id", head["request_id"]),
        ("Lambda-Runtime-Deadline-Ms", str(deadline_ms)),
        ("Lambda-Runtime-Invoked-Function-Arn", head["arn"]),
        ("Lambda-Runtime-Trace-Id", head["trace"]),
    ]
    if head.get("client_context") is not None:
        headers.append(("Lambda-Runtime-Client-Context", msgspec.json.encode(head["client_context"]).decode()))
    return headers


def told_of(error_type: str, body: bytes) -> dict[str, Any]:
    """A runtime's own error as the answer's JSON."""
    try:
        value = msgspec.json.decode(body)
    except ValueError:
        value = None
    if isinstance(value, dict):
        return {"errorType": error_type, **value}
    return {"errorType": error_type, "errorMessage": body.decode("utf-8", "replace")}


def _error_type(request: HttpRequest, body: bytes) -> str:
    """As the header says, else as the body does."""
    if named := request.headers.get(ERROR_TYPE):
        return named
    try:
        told: Any = msgspec.json.decode(body)
    except ValueError:
        told = None
    named = told.get("errorType") if isinstance(told, dict) else None
    return named if isinstance(named, str) and named else "Runtime.Unknown"


async def _read(request: HttpRequest, most_bytes: int) -> bytes | HttpResponse:
    """The whole body, or the refusal of one that is too large or incomplete."""
    if request.stream is None:
        return request.body if len(request.body) <= most_bytes else rendering.too_large()
    pieces, size = [], 0
    try:
        async for piece in request.stream:
            size += len(piece)
            if size <= most_bytes:
                pieces.append(piece)
    except ClientGoneError:
        return rendering.truncated()
    return b"".join(pieces) if size <= most_bytes else rendering.too_large()
