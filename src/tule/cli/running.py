"""Finding the Tule that runs, and speaking to its admin API."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlencode, urlsplit

import click

from tule.cli.outcome import FAILED, NOT_RUNNING, USAGE, Failure
from tule.kernel.processes import lives

TIMEOUT_S: Final = 60.0
BAD_REQUEST: Final = 400
"""The admin API's answer to an argument it can't read."""


def target_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Options that say which Tule is meant."""
    function = click.option("--dir", "directory", envvar="TULE_DIR", help="Home of Tule; ~/.tule unless given.")(
        function
    )
    return click.option("--port", envvar="TULE_PORT", type=int, help="Port of Tule; needed when several run.")(function)


def home_of(directory: str | None) -> Path:
    return Path(directory or "~/.tule").expanduser()


class Running:
    """A Tule that answers."""

    def __init__(self, note: dict[str, Any]) -> None:
        self.url: str = note["url"]
        self.pid: int = note["pid"]
        self.port: int = note["port"]
        self.region: str = note["region"]
        self.started_ms: int = note["started_ms"]
        self._token_file: str = note["token_file"]

    def admin(self, method: str, path: str, body: Any = None, **query: Any) -> Any:
        """Call the admin API (`path` under /_tule/v1/) and return what it answers."""
        wanted = {key: value for key, value in query.items() if value is not None}
        target = f"/_tule/v1/{path}" + (f"?{urlencode(wanted)}" if wanted else "")
        try:
            token = Path(self._token_file).read_text(encoding="utf-8").strip()
        except OSError as error:
            raise Failure(f"The admin token can't be read: {error}.", "Run as the user that started Tule.") from error
        status, answer = self._exchange(method, target, token, body)
        if status >= 400:
            message = answer.get("message", f"HTTP {status}") if isinstance(answer, dict) else f"HTTP {status}"
            raise Failure(str(message), exit_code=USAGE if status == BAD_REQUEST else FAILED)
        return answer

    def _exchange(self, method: str, target: str, token: str, body: Any) -> tuple[int, Any]:
        import http.client

        parts = urlsplit(self.url)
        connection = http.client.HTTPConnection(parts.hostname or "127.0.0.1", parts.port, timeout=TIMEOUT_S)
        headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
        try:
            connection.request(method, target, None if body is None else json.dumps(body), headers)
            response = connection.getresponse()
            raw = response.read()
        except OSError as error:
            raise not_running(f"{self.url} does not answer ({error})") from error
        finally:
            connection.close()
        return response.status, json.loads(raw) if raw else None


def not_running(what: str) -> Failure:
    return Failure(f"Tule is not running: {what}.", "Start it with `tule up`.", NOT_RUNNING)


def is_tule(pid: int) -> bool:
    """Whether the process `pid` is there and a Tule: its number may be a zombie's or another program's."""
    process = Path("/proc") / str(pid)
    if not Path("/proc/self").exists():  # macOS
        return lives(pid)
    try:
        return b"tule.app" in (process / "cmdline").read_bytes()  # a zombie has none
    except OSError:
        return False


def notes(home: Path) -> list[dict[str, Any]]:
    """What the Tules that run from `home` noted about themselves; notes of dead ones are skipped."""
    found = []
    for file in sorted((home / "run").glob("*.json")):
        try:
            note = json.loads(file.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            continue
        if is_tule(note["pid"]):
            found.append(note)
    return found


def find(directory: str | None, port: int | None) -> Running:
    """The Tule that is meant. Raises `Failure` when there is none, or more than one to choose from."""
    home = home_of(directory)
    found = notes(home)
    if port:  # 0 was asked for to take any
        found = [note for note in found if note["port"] == port]
    if not found:
        raise not_running(f"nothing runs from {home}" + (f" on port {port}" if port else ""))
    if len(found) > 1:
        ports = ", ".join(str(note["port"]) for note in found)
        raise Failure(f"Several Tules run from {home}, on ports {ports}.", "Choose one with --port.", 2)
    return Running(found[0])
