"""tule doctor"""

import os
import shutil
import sys
from pathlib import Path
from typing import Any

import click

from tule.cli.outcome import FAILED, json_option, show_json
from tule.cli.running import home_of, notes, target_options


@click.command("doctor")
@target_options
@json_option
def command(directory: str | None, port: int | None, *, as_json: bool) -> int:
    """Check this machine: what Tule needs, what it would gain, and how to get it."""
    home = home_of(directory)
    findings = [_python(), _home(home), _space(home), _node(), _aws_cli(), _landlock(), _cgroups(), _port(home, port)]
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
    mode = home.stat().st_mode & 0o777
    if mode & 0o077:
        return _finding("bad", f"{home} can be read by others (mode {mode:o}).", f"chmod 700 {home}")
    if not os.access(home, os.W_OK):
        return _finding("bad", f"{home} can't be written.", f"Give it to {os.environ.get('USER', 'your user')}.")
    return _finding("ok", f"{home} is yours alone")


def _space(home: Path) -> dict[str, Any]:
    place = home if home.exists() else home.parent
    free = shutil.disk_usage(place).free
    text = f"{free / 2**30:.1f} GiB free at {place}"
    return _finding("ok", text) if free > 2**30 else _finding("hint", text, "Writes are refused when the disk is full.")


def _node() -> dict[str, Any]:
    found = shutil.which("node")
    if found:
        return _finding("ok", f"Node at {found}")
    return _finding("hint", "There is no Node.", "nodejs functions need Node 20 or newer: pip install 'tule[node]'.")


def _aws_cli() -> dict[str, Any]:
    if Path(sys.executable).with_name("aws").is_file() or shutil.which("aws"):
        return _finding("ok", "the AWS CLI")
    return _finding("hint", "There is no AWS CLI.", "tule aws needs it: pip install awscli.")


def _landlock() -> dict[str, Any]:
    try:
        active = Path("/sys/kernel/security/lsm").read_text(encoding="ascii").split(",")
    except OSError:
        active = []
    if "landlock" in active:
        return _finding("ok", "Landlock keeps functions out of files that are not theirs")
    return _finding("hint", "Landlock can't be seen.", "Linux 5.13 or newer with landlock among its LSMs has it.")


def _cgroups() -> dict[str, Any]:
    if os.geteuid() == 0:
        return _finding("ok", "running as root: functions get users of their own")
    return _finding("hint", "Running as an ordinary user.", "As root, each function gets a user of its own.")


def _port(home: Path, port: int | None) -> dict[str, Any]:
    running = [note for note in notes(home) if port is None or note["port"] == port]
    if running:
        return _finding("ok", "Tule runs at " + ", ".join(note["url"] for note in running))
    return _finding("ok", "Tule is not running")
