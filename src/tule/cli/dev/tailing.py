"""The logs of a stack's functions, as they come."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any, Final

from tule.cli.logs import PREFIX, Seen, line_of, new_events
from tule.cli.outcome import Failure
from tule.kernel.clocks import SystemClock

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tule.cli.dev.telling import Telling
    from tule.cli.running import Running

LOOK_EVERY_S: Final = 0.25


class Tail(threading.Thread):
    """Says what functions log from now on."""

    def __init__(self, running: Running, telling: Telling) -> None:
        super().__init__(name="logs", daemon=True)
        self._running = running
        self._telling = telling
        self._names: Mapping[str, str] = {}
        self._since_ms = SystemClock().wall_ms()
        self._seen: dict[str, Seen] = {}
        self._over = threading.Event()

    def follow(self, names: Mapping[str, str]) -> None:
        """Functions to listen to: logical ids by Lambda's names."""
        self._names = dict(names)

    def stop(self) -> None:
        self._over.set()

    def run(self) -> None:
        from tule.cli.signing import Api

        try:
            api = Api(self._running, "logs")
            while not self._over.wait(LOOK_EVERY_S):
                self._look(api)
        except Failure as failure:
            if not self._over.is_set():
                self._telling.failed(failure)

    def _look(self, api: Any) -> None:
        from tule.cli.signing import ApiError

        for name, logical_id in self._names.items():
            group = PREFIX + name
            self._seen.setdefault(group, Seen(self._since_ms, set()))
            try:
                events = new_events(api, [group], self._seen)
            except ApiError as error:
                if error.code == "ResourceNotFoundException":
                    continue  # a log begins with the first call
                raise
            for event in events:
                text = line_of({**event, "group": PREFIX + logical_id}, several=True)
                self._telling.say(
                    "log", text, function=logical_id, timestamp=event["timestamp"], message=event["message"]
                )
