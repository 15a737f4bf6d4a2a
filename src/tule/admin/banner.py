"""What `tule up` and `tule status` say about a running Tule."""

import os
import shlex
import shutil
import sys
from pathlib import Path
from urllib.parse import urlsplit

import msgspec

from tule import __version__
from tule.admin.house import Status
from tule.kernel.clocks import ServiceClock
from tule.kernel.settings import Settings

PERMISSIONS = "off (no policy engine yet)"


def status(
    settings: Settings,
    clock: ServiceClock,
    urls: tuple[str, str],
    store: tuple[str, bool],
    sandbox: str,
    calls: tuple[list[str], int],
) -> Status:
    """The state of things: `urls` for everybody and for functions; `store` is what it is and whether it is durable;
    `calls` are the services that were started and how many calls wait."""
    (url, functions_url), (description, durable) = urls, store
    clock_text = "paused" if clock.paused else "running"
    ahead_s = clock.offset_ms / 1000
    if abs(ahead_s) >= 1:
        clock_text += f", {ahead_s:+.0f} s from the machine's"
    lines = [
        ("Tule", __version__),
        ("endpoint", url),
        *([("public URL", settings.public_url)] if settings.public_url else []),
        *([("listens on", settings.host)] if settings.host else []),
        ("store", f"{description}, {'durable' if durable else 'not durable: everything is gone when Tule stops'}"),
        ("sandbox", sandbox),
        ("permissions", PERMISSIONS + (", signatures verified" if settings.verify_signatures else "")),
        ("clock", clock_text),
        ("account", settings.account),
        ("region", settings.region),
        ("pid", str(os.getpid())),
    ]
    return Status(
        __version__, os.getpid(), url, functions_url, str(settings.home()), description, durable, sandbox, PERMISSIONS,
        clock_text, settings.account, settings.region, *calls, lines,
    )  # fmt: skip


def text(status: Status, *, as_json: bool) -> str:
    """The banner: one line of JSON, or lines for people and what to do next."""
    if as_json:
        return msgspec.json.encode(status).decode() + "\n"
    lines = [f"{name:<12} {value}" for name, value in status.lines]
    lines += ["", f'Point AWS tools here with: eval "$({_env_command(status)})"', ""]
    return "\n".join(lines)


def _env_command(status: Status) -> str:
    """`tule env` with what it must be told to find this Tule from the shell that started it."""
    home, port = os.environ.get("TULE_DIR"), os.environ.get("TULE_PORT")
    flags = ""
    if Path(home or "~/.tule").expanduser().absolute() != Path(status.dir).absolute():
        flags += f" --dir {shlex.quote(status.dir)}"
    if port not in (None, "0", str(urlsplit(status.url).port)):
        flags += f" --port {urlsplit(status.url).port}"
    return f"{_program()} env{flags}"


def _program() -> str:
    """The command as this shell finds it: by its name, or by the path of the one that runs here."""
    beside = Path(sys.executable).with_name("tule")
    if shutil.which("tule") or not beside.is_file():
        return "tule"
    return shlex.quote(os.path.relpath(beside) if beside.is_relative_to(Path.cwd()) else str(beside))
