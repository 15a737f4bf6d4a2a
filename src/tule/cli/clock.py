"""tule clock"""

from typing import Any

import click

from tule.cli.outcome import json_option, show_json
from tule.cli.running import find, target_options


@click.group("clock")
def command() -> None:
    """Service time: what is retained, delayed, scheduled and stamped follows it. It can stand still and leap ahead."""


def _show(answer: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        show_json(answer)
        return
    state = "paused" if answer["paused"] else "running"
    ahead = answer["ahead_ms"] / 1000
    print(f"{answer['now']}  {state}, {ahead:+.3f} s from the machine's time")
    if answer.get("settled") is False:
        print("Work that this released has not finished yet.")


@command.command("show")
@target_options
@json_option
def show(directory: str | None, port: int | None, *, as_json: bool) -> None:
    """Say what time it is."""
    _show(find(directory, port).admin("GET", "clock"), as_json=as_json)


@command.command("pause")
@target_options
@json_option
def pause(directory: str | None, port: int | None, *, as_json: bool) -> None:
    """Let service time stand still."""
    _show(find(directory, port).admin("POST", "clock/pause"), as_json=as_json)


@command.command("resume")
@target_options
@json_option
def resume(directory: str | None, port: int | None, *, as_json: bool) -> None:
    """Let service time go on from where it stands."""
    _show(find(directory, port).admin("POST", "clock/resume"), as_json=as_json)


@command.command("advance")
@click.argument("duration")
@target_options
@json_option
def advance(duration: str, directory: str | None, port: int | None, *, as_json: bool) -> None:
    """Leap ahead by DURATION (90s, 15m, 12h, 15d, 1h30m): everything due on the way happens, in order."""
    _show(find(directory, port).admin("POST", "clock/advance", {"duration": duration}), as_json=as_json)
