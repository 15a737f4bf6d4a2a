"""tule debug"""

from __future__ import annotations

import json
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote

import click

from tule.cli.debug import launch
from tule.cli.interrupting import end_on_signals
from tule.cli.outcome import Failure
from tule.cli.running import find, target_options

if TYPE_CHECKING:
    from tule.cli.running import Running

ASKED_AGAIN: Final = 0.25
"""The part of the time that Tule holds for, after which it is asked to go on."""

DEFAULT_PORTS: Final = {"python": 5678, "nodejs": 9229}
"""Those that the debuggers have by themselves."""


@click.command("debug")
@click.argument("function")
@click.option("--debug-port", type=click.IntRange(0, 65535), help="Where the debugger attaches: 5678 or 9229; 0: any.")
@click.option(
    "--code",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    default=".",
    help="The folder that the function's package is made of, so that breakpoints are found.",
)
@click.option("--no-launch-json", is_flag=True, help="Don't write .vscode/launch.json.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document a line.")
@target_options
def command(  # noqa: PLR0913 - one parameter an option
    function: str,
    debug_port: int | None,
    code: Path,
    directory: str | None,
    port: int | None,
    *,
    no_launch_json: bool,
    as_json: bool,
) -> int:
    """Have the next calls of FUNCTION wait for a debugger, until Ctrl-C.

    For Python that is debugpy, for Node its inspector, both on this machine's loopback. The function's time limit does
    not hold meanwhile, it gets 512 MB more, and runs one call at a time. Attach VS Code by the configuration that is
    written to .vscode/launch.json.
    """
    running = find(directory, port)
    arn, runtime = _function(running, function)
    language = next((name for name in DEFAULT_PORTS if runtime.startswith(name)), "")
    if not language:
        raise Failure(
            f"{function} runs on {runtime or 'an image'}.", "Functions in Python and Node can be debugged.", 2
        )
    wanted = {
        "function_arn": arn,
        "runtime": runtime,
        "port": DEFAULT_PORTS[language] if debug_port is None else debug_port,
    }
    end_on_signals()
    found = running.admin("POST", "functions/debug", wanted)
    try:
        written = "" if no_launch_json else _launch_json(arn, found, code)
        _show(function, found, written, as_json=as_json)
        while not threading.Event().wait(found["held_s"] * ASKED_AGAIN):
            running.admin("POST", "functions/debug", {**wanted, "port": found["port"]})
    except KeyboardInterrupt:
        pass
    finally:
        running.admin("DELETE", "functions/debug", {"function_arn": arn})
    if as_json:
        print(json.dumps({"event": "stopped", "function_arn": arn}), flush=True)
    else:
        print(f"{function} runs as ever.")
    return 0


def _function(running: Running, function: str) -> tuple[str, str]:
    """ARN and runtime."""
    from tule.cli.signing import Api

    path = f"/2015-03-31/functions/{quote(function, safe='')}/configuration"
    _, _, raw = Api(running, "lambda").call("GET", path, {}, b"")
    answer: dict[str, Any] = json.loads(raw)
    return ":".join(answer["FunctionArn"].split(":")[:7]), answer.get("Runtime", "")


def _launch_json(arn: str, found: dict[str, Any], code: Path) -> str:
    """Where the configuration is, or why it is not there."""
    here = Path.cwd()
    place = code.resolve()
    local = "${workspaceFolder}" if place == here else str(place)
    if here in place.parents:
        local = f"${{workspaceFolder}}/{place.relative_to(here)}"
    name = f"Tule: {arn.rpartition(':')[2]}"
    wanted = launch.configuration(name, found["debugger"], found["port"], local, found["code_root"] or local)
    file = here / ".vscode" / "launch.json"
    try:
        launch.write(file, wanted)
    except Failure as failure:
        return f"{failure.what}\n{failure.fix}"
    return f'{file.relative_to(here)} has "{name}"'


def _show(function: str, found: dict[str, Any], written: str, *, as_json: bool) -> None:
    if as_json:
        print(json.dumps({"event": "debugging", **found, "launch_json": written}), flush=True)
        return
    kind = {"debugpy": "debugpy", "inspector": "the Node inspector"}[found["debugger"]]
    print(f"{function} waits for a debugger at 127.0.0.1:{found['port']} ({kind}) whenever it starts.")
    if written:
        print(written)
    print(f"Call it, then attach: tule invoke {function}. Ctrl-C ends this.", flush=True)
