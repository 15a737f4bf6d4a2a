"""tule reset"""

import click

from tule.cli.outcome import json_option, show_json
from tule.cli.running import find, target_options


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
    if as_json:
        show_json({"reset": True})
    else:
        print("Everything is forgotten.")
