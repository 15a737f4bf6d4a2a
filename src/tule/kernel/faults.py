"""Named places where a test may make Tule fail. In production every one of them is a no-op.

A place calls `faults.hit("store.commit.before")`. The simulator and the crash suites arm places with a callable that
raises, delays or ends the process.
"""

from collections.abc import Callable


class FaultPoints:
    """The places that are armed, and what happens there."""

    __slots__ = ("_armed",)

    def __init__(self) -> None:
        self._armed: dict[str, Callable[[], None]] = {}

    def arm(self, place: str, effect: Callable[[], None]) -> None:
        self._armed[place] = effect

    def disarm(self, place: str) -> None:
        self._armed.pop(place, None)

    def hit(self, place: str) -> None:
        """Suffer what was armed for `place`, which is nothing unless a test armed it."""
        if self._armed and (effect := self._armed.get(place)) is not None:
            effect()
