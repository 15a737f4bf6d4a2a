"""Service time over the admin API."""

from collections.abc import Awaitable, Callable

import msgspec

from tule.admin.durations import parse_ms
from tule.admin.endpoints import AdminError, Ask, Endpoint
from tule.admin.traces import instant_text
from tule.kernel.clocks import Instant, ServiceClock


class Clock(msgspec.Struct, frozen=True):
    """Where service time stands. `settled` is false if work that an advance released is still going on."""

    now: str
    now_ms: int
    paused: bool
    ahead_ms: int
    settled: bool = True


class Advance(msgspec.Struct, frozen=True):
    """How far to leap: "15m", "12h", "15d", "1h30m"."""

    duration: str


def endpoints(
    clock: ServiceClock, keep: Callable[[], Awaitable[None]], advance_to: Callable[[Instant], Awaitable[bool]]
) -> list[Endpoint]:
    """GET clock, POST clock/pause, clock/resume and clock/advance. `keep` makes a change outlive a restart."""

    def seen(*, settled: bool = True) -> Clock:
        now = clock.now()
        return Clock(instant_text(now * 1000), now, clock.paused, clock.offset_ms, settled)

    async def show(_: Ask) -> Clock:
        return seen()

    async def pause(_: Ask) -> Clock:
        clock.pause()
        await keep()
        return seen()

    async def resume(_: Ask) -> Clock:
        clock.resume()
        await keep()
        return seen()

    async def advance(ask: Ask) -> Clock:
        try:
            ahead_ms = parse_ms(ask.body.duration)
        except ValueError as error:
            raise AdminError(400, "InvalidDuration", str(error)) from error
        settled = await advance_to(Instant(clock.now() + ahead_ms))
        await keep()
        return seen(settled=settled)

    return [
        Endpoint("GET", "clock", "Where service time stands", show, Clock),
        Endpoint("POST", "clock/pause", "Let service time stand still", pause, Clock),
        Endpoint("POST", "clock/resume", "Let service time go on", resume, Clock),
        Endpoint("POST", "clock/advance", "Leap ahead; what is due happens in order", advance, Clock, Advance),
    ]
