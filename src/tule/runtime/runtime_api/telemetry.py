"""What an execution environment tells its extensions of itself: the Telemetry API, and the Logs API before it.

Batches go as HTTP requests to listeners inside the environment, over connections that its supervisor opens for us.
"""

import asyncio
import re
import socket
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, Final

import msgspec
import structlog

from tule.kernel.clocks import Handle, MachineClock
from tule.net.messages import HttpRequest, HttpResponse
from tule.runtime.platform_events import iso
from tule.runtime.runtime_api import rendering
from tule.runtime.runtime_api.extensions import Extension, Extensions, body_of

TELEMETRY_API: Final = "/2022-07-01/telemetry"
LOGS_API: Final = "/2020-08-15/logs"

TYPES: Final = frozenset({"platform", "function", "extension"})
SCHEMAS: Final = {
    TELEMETRY_API: frozenset({"2022-07-01", "2022-12-13", "2025-01-29"}),
    LOGS_API: frozenset({"2020-08-15", "2021-03-18"}),
}
MAX_ITEMS: Final = (1000, 10_000, 10_000)
MAX_BYTES: Final = (262_144, 1_048_576, 262_144)
TIMEOUT_MS: Final = (25, 30_000, 1000)
"""AWS: least, most, and what holds when nothing is said. Values outside are refused."""

WAITING_MAX_BYTES: Final = 4 * 1024 * 1024
"""What may wait for a subscriber that takes nothing (ours); what comes then is dropped, and told as dropped."""

ANSWERED_WITHIN_S: Final = 5.0

LOGS_API_KINDS: Final = {
    "platform.runtimeDone": "2021-03-18", "platform.start": "", "platform.report": "", "platform.extension": "",
    "platform.logsSubscription": "", "platform.logsDropped": "", "platform.fault": "",
}  # fmt: skip
"""What the older API tells, and since which of its schemas."""

_DESTINATION: Final = re.compile(r"http://(?:sandbox\.localdomain|sandbox|127\.0\.0\.1|localhost):(\d{1,5})(/[^\s]*)?")
_log = structlog.get_logger("tule.runtime")


@dataclass(slots=True)
class Subscription:
    """Where to, what, and how much at once."""

    name: str
    port: int
    path: str
    types: frozenset[str]
    schema: str
    logs_api: bool
    max_items: int
    max_bytes: int
    timeout_s: float
    events: list[bytes] = field(default_factory=list)
    waiting_bytes: int = 0
    dropped: int = 0
    dropped_bytes: int = 0
    timer: Handle | None = None
    sending: asyncio.Task[None] | None = None


class Telemetry:
    """The subscriptions of one environment. `connect` opens a connection to a port inside it."""

    def __init__(
        self,
        machine: MachineClock,
        connect: Callable[[int], Awaitable[socket.socket]],
        frozen: Callable[[], bool] = lambda: False,
    ) -> None:
        self._machine = machine
        self._connect = connect
        self._frozen = frozen
        self._subscriptions: dict[str, Subscription] = {}
        self._early: list[tuple[str, str, bytes]] = []
        self.open = True

    # -- subscribing

    async def subscribe(self, api: str, request: HttpRequest, extensions: Extensions) -> HttpResponse:
        """PUT /telemetry and /logs."""
        extension = extensions.of(request)
        told = await body_of(request)
        if isinstance(extension, HttpResponse):
            return extension
        word = "Telemetry" if api == TELEMETRY_API else "Logs"
        if not self.open:
            return rendering.refusal(403, f"{word}.SubscriptionClosed", f"{word} API subscription is closed already")
        try:
            subscription = _parse(api, extension, told)
        except ValueError as error:
            return rendering.refusal(400, "ValidationError", str(error))
        old = self._subscriptions.get(extension.name)
        self._subscriptions[extension.name] = subscription
        if old is not None and old.timer is not None:
            old.timer.cancel()
        for category, kind, event in self._early:
            self._offer(subscription, category, kind, event)
        kinds = "platform.logsSubscription" if subscription.logs_api else "platform.telemetrySubscription"
        record = {"name": extension.name, "state": "Subscribed", "types": sorted(subscription.types)}
        self.tell("platform", kinds, record)
        return HttpResponse(200, [("content-type", "application/json")], b'"OK"')

    def close_subscriptions(self) -> None:
        """The init phase is over: nobody may subscribe any more, and nothing is kept for those who might."""
        self.open = False
        self._early.clear()

    # -- telling

    @property
    def wanted(self) -> bool:
        return self.open or bool(self._subscriptions)

    def tell(self, category: str, kind: str, record: Any) -> None:
        """An event of now for all who subscribed to its category."""
        if not self.wanted:
            return
        event = msgspec.json.encode({"time": iso(self._machine.wall_ms()), "type": kind, "record": record})
        if self.open and len(self._early) < MAX_ITEMS[0]:
            self._early.append((category, kind, event))
        for subscription in self._subscriptions.values():
            self._offer(subscription, category, kind, event)

    def tell_lines(self, category: str, lines: list[str]) -> None:
        """What the function or an extension printed."""
        for line in lines:
            self.tell(category, category, line)

    def _offer(self, subscription: Subscription, category: str, kind: str, event: bytes) -> None:
        if category not in subscription.types or not _told_by(subscription, kind):
            return
        if subscription.waiting_bytes + len(event) > WAITING_MAX_BYTES:
            subscription.dropped += 1
            subscription.dropped_bytes += len(event)
            return
        subscription.events.append(event)
        subscription.waiting_bytes += len(event)
        if len(subscription.events) >= subscription.max_items or subscription.waiting_bytes >= subscription.max_bytes:
            self._send_soon(subscription)
        elif subscription.timer is None:
            subscription.timer = self._machine.call_later(subscription.timeout_s, lambda: self._send_soon(subscription))

    # -- delivering

    def _send_soon(self, subscription: Subscription) -> None:
        if subscription.timer is not None:
            subscription.timer.cancel()
            subscription.timer = None
        if self._frozen():
            return  # nobody in there could take it: the next event after the thaw brings it along
        if subscription.sending is None or subscription.sending.done():
            subscription.sending = asyncio.get_running_loop().create_task(self._send(subscription))

    async def _send(self, subscription: Subscription) -> None:
        while subscription.events:
            batch = subscription.events[: subscription.max_items]
            del subscription.events[: len(batch)]
            size = sum(map(len, batch))
            subscription.waiting_bytes -= size
            try:
                async with asyncio.timeout(ANSWERED_WITHIN_S):
                    await self._post(subscription, b"[" + b",".join(batch) + b"]")
            except (OSError, TimeoutError, EOFError) as error:
                if self._frozen():
                    subscription.events[:0] = batch
                    subscription.waiting_bytes += size
                    return
                _log.debug("telemetry not delivered", extension=subscription.name, why=str(error))
                subscription.dropped += len(batch)
                subscription.dropped_bytes += size
            else:
                self._own_up(subscription)

    def _own_up(self, subscription: Subscription) -> None:
        """Say what was dropped, now that somebody listens again."""
        if not subscription.dropped:
            return
        record = {
            "reason": "Consumer seems to have fallen behind as it has not acknowledged receipt of logs.",
            "droppedRecords": subscription.dropped, "droppedBytes": subscription.dropped_bytes,
        }  # fmt: skip
        subscription.dropped = subscription.dropped_bytes = 0
        moment = iso(self._machine.wall_ms())
        event = msgspec.json.encode({"time": moment, "type": "platform.logsDropped", "record": record})
        self._offer(subscription, "platform", "platform.logsDropped", event)

    async def _post(self, subscription: Subscription, body: bytes) -> None:
        sock = await self._connect(subscription.port)
        reader, writer = await asyncio.open_connection(sock=sock)
        try:
            head = (
                f"POST {subscription.path} HTTP/1.1\r\nHost: sandbox.localdomain:{subscription.port}\r\n"
                f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
            )
            writer.write(head.encode("latin-1") + body)
            await writer.drain()
            status = await reader.readline()
            if not status:
                raise EOFError("It hung up without an answer.")
        finally:
            writer.close()

    async def flush(self) -> None:
        """Send what waits, now: the environment is about to end."""
        for subscription in self._subscriptions.values():
            if subscription.events:
                self._send_soon(subscription)
        sending = [one.sending for one in self._subscriptions.values() if one.sending is not None]
        if sending:
            await asyncio.wait(sending, timeout=ANSWERED_WITHIN_S)

    def end(self) -> None:
        """Nothing more is sent."""
        for subscription in self._subscriptions.values():
            if subscription.timer is not None:
                subscription.timer.cancel()
            if subscription.sending is not None:
                subscription.sending.cancel()


def _told_by(subscription: Subscription, kind: str) -> bool:
    if not subscription.logs_api or not kind.startswith("platform."):
        return True
    since = LOGS_API_KINDS.get(kind)
    return since is not None and subscription.schema >= since


def _parse(api: str, extension: Extension, told: Any) -> Subscription:
    """A subscription, or ValueError with what is wrong."""
    if not isinstance(told, dict):
        raise ValueError("The body is no JSON object")  # noqa: TRY004 - a refusal, no defect
    default = "2020-08-15" if api == LOGS_API else None
    schema = told.get("schemaVersion", default)
    if schema not in SCHEMAS[api]:
        raise ValueError(f"schemaVersion: must be one of {', '.join(sorted(SCHEMAS[api]))}")
    types = told.get("types")
    if not isinstance(types, list) or not types or not set(map(str, types)) <= TYPES:
        raise ValueError("types: must be a list of platform, function, extension")
    destination = told.get("destination")
    if not isinstance(destination, dict) or destination.get("protocol") != "HTTP":
        raise ValueError("destination.protocol: must be HTTP (TCP is not supported by Tule)")
    match = _DESTINATION.fullmatch(str(destination.get("URI", "")))
    if match is None or not 0 < int(match[1]) < 65536:
        raise ValueError("destination.URI: must be http://sandbox.localdomain:PORT/PATH")
    buffering = told.get("buffering") or {}
    if not isinstance(buffering, dict):
        raise ValueError("buffering: must be an object")  # noqa: TRY004 - a refusal, no defect
    return Subscription(
        extension.name, int(match[1]), match[2] or "/", frozenset(types), str(schema), api == LOGS_API,
        _within(buffering, "maxItems", MAX_ITEMS), _within(buffering, "maxBytes", MAX_BYTES),
        _within(buffering, "timeoutMs", TIMEOUT_MS) / 1000,
    )  # fmt: skip


def _within(buffering: dict[str, Any], name: str, bounds: tuple[int, int, int]) -> int:
    least, most, default = bounds
    value = buffering.get(name, default)
    if not isinstance(value, int) or not least <= value <= most:
        raise ValueError(f"buffering.{name}: must be between {least} and {most}")
    return value
