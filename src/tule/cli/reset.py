"""tule reset"""

from typing import Final

import click

from tule.cli.outcome import Failure, json_option, show_json
from tule.cli.running import Running, find, home_of, notes, target_options

ASK_EVERY_S: Final = 0.02
ASK_TIMES: Final = 1500
"""Half a minute: a Tule with nothing in it starts in a fraction of a second."""


@click.command("reset")
@target_options
@click.option("--yes", is_flag=True, help="Don't ask.")
@json_option
def command(directory: str | None, port: int | None, *, yes: bool, as_json: bool) -> None:
    """Forget everything: all accounts, queues, tables, functions and traces of the running Tule."""
    running = find(directory, port)
    status = running.admin("GET", "status")
    if not yes:
        click.confirm(f"Delete everything that {running.url} keeps ({status['store']})?", abort=True, err=True)
    running.admin("POST", "reset")
    _wait_for_the_next(directory, running)
    if as_json:
        show_json({"reset": True})
    else:
        print("Everything is forgotten.")


def _wait_for_the_next(directory: str | None, before: Running) -> None:
    """Tule starts again with nothing in it; return when that one is ready."""
    import select

    for _ in range(ASK_TIMES):
        for note in notes(home_of(directory)):
            if note["port"] == before.port and note["started_ms"] != before.started_ms:
                return
        select.select([], [], [], ASK_EVERY_S)
    raise Failure("Tule has forgotten everything but has not come back.", "Its log says why; start it with `tule up`.")
