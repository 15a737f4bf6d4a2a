"""What `tule dev` says: lines for people, or JSON lines for programs."""

from __future__ import annotations

import json
import sys
import threading
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tule.cli.outcome import Failure


class Telling:
    """Says one thing at a time, from any thread."""

    def __init__(self, *, as_json: bool) -> None:
        self._as_json = as_json
        self._lock = threading.Lock()

    def say(self, event: str, text: str, **fields: Any) -> None:
        """An event: `text` for people, `fields` for programs."""
        with self._lock:
            print(json.dumps({"event": event, **fields}) if self._as_json else text, flush=True)

    def progress(self, text: str) -> None:
        """What only people want to know."""
        if not self._as_json:
            print(text, file=sys.stderr, flush=True)

    def failed(self, failure: Failure, **fields: Any) -> None:
        """An error after which work goes on."""
        text = f"error: {failure.what}" + (f"\n       {failure.fix}" if failure.fix else "")
        self.say("error", text, message=failure.what, fix=failure.fix, **fields)
