"""Extensions of an execution environment: who has registered, who waits for which event, who has failed."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final

import msgspec

from tule.kernel.randomness import RandomSource
from tule.net.body import ClientGoneError
from tule.net.exchange import Exchange
from tule.net.messages import HttpRequest, HttpResponse
from tule.runtime.runtime_api import rendering

NAME: Final = "lambda-extension-name"
IDENTIFIER: Final = "lambda-extension-identifier"
ERROR_TYPE: Final = "lambda-extension-function-error-type"
ACCEPT_FEATURE: Final = "lambda-extension-accept-feature"

INVOKE: Final = "INVOKE"
SHUTDOWN: Final = "SHUTDOWN"
EXTENSIONS_MAX: Final = 10
"""AWS: extensions of an execution environment, internal ones too."""

STARTED, REGISTERED, READY, RUNNING = "Started", "Registered", "Ready", "Running"
INIT_ERROR, EXIT_ERROR, EXITED = "InitError", "ExitError", "Exited"


@dataclass(slots=True)
class Extension:
    """One of them. `external`: a process of its own, from /opt/extensions."""

    name: str
    identifier: str
    external: bool
    state: str = STARTED
    events: list[str] = field(default_factory=list)
    error_type: str = ""
    waiting: Exchange | None = None
    pending: list[dict[str, Any]] = field(default_factory=list)


class Extensions:
    """All of one environment. `changed` is called whenever something happened that somebody may wait for."""

    def __init__(self, random: RandomSource, function: dict[str, Any], changed: Callable[[], None]) -> None:
        self._random = random
        self._function = function
        self._changed = changed
        self._by_name: dict[str, Extension] = {}
        self.registration_open = True

    # -- what the environment asks

    def expect(self, names: list[str]) -> None:
        """External extensions that were started."""
        for name in names:
            self._by_name[name] = Extension(name, self._random.uuid(), external=True)

    @property
    def all(self) -> list[Extension]:
        return list(self._by_name.values())

    @property
    def external(self) -> bool:
        return any(extension.external for extension in self.all)

    def subscribed(self, event: str) -> list[Extension]:
        return [one for one in self.all if event in one.events and one.state not in (EXITED, INIT_ERROR, EXIT_ERROR)]

    @property
    def all_registered(self) -> bool:
        return all(extension.state != STARTED for extension in self.all)

    @property
    def all_ready(self) -> bool:
        """Whether each waits for its next event."""
        return all(one.state == READY and not one.pending for one in self.all if one.state != EXITED)

    @property
    def failed_one(self) -> Extension | None:
        return next((one for one in self.all if one.state in (INIT_ERROR, EXIT_ERROR)), None)

    def send(self, event: dict[str, Any]) -> list[Extension]:
        """Give an event to all who subscribed to its type."""
        told = self.subscribed(event["eventType"])
        for extension in told:
            extension.pending.append(event)
            self._deliver(extension)
        return told

    def _deliver(self, extension: Extension) -> None:
        exchange = extension.waiting
        if exchange is None or not extension.pending:
            return
        extension.waiting = None
        if exchange.gone:
            return
        extension.state = RUNNING
        exchange(
            rendering.json(200, extension.pending.pop(0), ("Lambda-Extension-Event-Identifier", self._random.uuid()))
        )

    def exited(self, name: str, error_type: str) -> None:
        """A process has ended; unless everything is being shut down that is a failure."""
        extension = self._by_name.get(name)
        if extension is None:
            return
        if extension.state in (INIT_ERROR, EXIT_ERROR):
            return
        extension.state = EXITED if not error_type else EXIT_ERROR
        extension.error_type = error_type
        self._changed()

    # -- what they ask

    async def register(self, request: HttpRequest) -> HttpResponse:
        """POST /extension/register."""
        name = request.headers.get(NAME, "")
        if not name:
            return rendering.refusal(403, "Extension.InvalidExtensionName", "Empty extension name")
        events = _events_of(await body_of(request))
        if isinstance(events, HttpResponse):
            return events
        found = self._registering(name, events)
        if isinstance(found, HttpResponse):
            return found
        found.state, found.events = REGISTERED, events
        self._changed()
        answer = dict(self._function)
        if "accountId" not in request.headers.get(ACCEPT_FEATURE, ""):
            answer.pop("accountId", None)
        return rendering.json(200, answer, ("Lambda-Extension-Identifier", found.identifier))

    def _registering(self, name: str, events: list[str]) -> Extension | HttpResponse:
        """Who registers, or why that can't be."""
        extension = self._by_name.get(name)
        external = extension is not None and extension.external
        for event in events:
            if event not in ((INVOKE, SHUTDOWN) if external else (INVOKE,)):
                why = "ShutdownEventNotSupportedForInternalExtension" if event == SHUTDOWN else "ErrorInvalidEventType"
                return rendering.refusal(403, "Extension.InvalidEventType", f"{event}: {why}")
        if extension is None:
            refused = self._refuse_internal()
            if refused is not None:
                return refused
            extension = self._by_name[name] = Extension(name, self._random.uuid(), external=False)
        elif not external:
            message = "Extension with this name already registered"
            return rendering.refusal(403, "Extension.InvalidExtensionState", message)
        elif extension.state != STARTED:
            return _out_of_turn(extension, REGISTERED)
        return extension

    def _refuse_internal(self) -> HttpResponse | None:
        if not self.registration_open:
            return rendering.refusal(403, "Extension.RegistrationClosed", "Extension registration closed already")
        if len(self._by_name) >= EXTENSIONS_MAX:
            return rendering.refusal(403, "Extension.TooManyExtensions", f"Extension limit ({EXTENSIONS_MAX}) reached")
        return None

    def of(self, request: HttpRequest) -> Extension | HttpResponse:
        """The extension that speaks, or the refusal of who is none."""
        identifier = request.headers.get(IDENTIFIER, "")
        if not identifier:
            return rendering.refusal(
                403, "Extension.MissingExtensionIdentifier", "Missing Lambda-Extension-Identifier header"
            )
        if len(identifier) != 36 or identifier.count("-") != 4:
            return rendering.refusal(403, "Extension.InvalidExtensionIdentifier", "Invalid Lambda-Extension-Identifier")
        for extension in self.all:
            if extension.identifier == identifier:
                return extension
        return rendering.refusal(403, "Extension.UnknownExtensionIdentifier", f"Unknown extension {identifier}")

    def next(self, request: HttpRequest, exchange: Exchange) -> None:
        """GET /extension/event/next."""
        extension = self.of(request)
        if isinstance(extension, HttpResponse):
            exchange(extension)
            return
        if extension.state not in (REGISTERED, READY, RUNNING):
            exchange(_out_of_turn(extension, READY))
            return
        extension.state, extension.waiting = READY, exchange
        self._deliver(extension)
        self._changed()

    async def failed(self, request: HttpRequest, where: str) -> HttpResponse:
        """POST /extension/init/error and /extension/exit/error."""
        extension = self.of(request)
        if isinstance(extension, HttpResponse):
            return extension
        error_type = request.headers.get(ERROR_TYPE, "")
        if not error_type:
            return rendering.refusal(403, "Extension.MissingHeader", "Lambda-Extension-Function-Error-Type not found")
        await body_of(request)
        wanted = INIT_ERROR if where == "init" else EXIT_ERROR
        allowed = (REGISTERED,) if where == "init" else (REGISTERED, READY, RUNNING)
        if extension.state not in allowed:
            return _out_of_turn(extension, INIT_ERROR if where == "init" else EXITED)
        extension.state, extension.error_type = wanted, error_type
        self._changed()
        return rendering.accepted()


def _out_of_turn(extension: Extension, wanted: str) -> HttpResponse:
    message = (
        f"State transition from {extension.state} to {wanted} failed for extension {extension.name}. "
        f"Error: {rendering.NOT_ALLOWED}"
    )
    return rendering.refusal(403, "Extension.InvalidExtensionState", message)


def _events_of(told: Any) -> list[str] | HttpResponse:
    """The events that a registration names."""
    events = told.get("events") or [] if isinstance(told, dict) else None
    if not isinstance(told, dict) or events is None or not _are_names(events):
        return rendering.refusal(403, "InvalidRequestFormat", "The body is no JSON object with a list of events")
    if told.get("configurationKeys"):
        message = "configurationKeys are deprecated; use environment variables instead"
        return rendering.refusal(403, "InvalidRequestFormat", message)
    return list(events)


def _are_names(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(one, str) for one in value)


BODY_MAX_BYTES: Final = 256 * 1024


async def body_of(request: HttpRequest) -> Any:
    """The JSON of a request's body; None if it is none, or too large."""
    data = request.body
    if request.stream is not None:
        pieces, size = [], 0
        try:
            async for piece in request.stream:
                size += len(piece)
                if size <= BODY_MAX_BYTES:
                    pieces.append(piece)
        except ClientGoneError:
            return None
        data = b"".join(pieces) if size <= BODY_MAX_BYTES else b""
    try:
        return msgspec.json.decode(data) if data else None
    except ValueError:
        return None
