"""tule status"""

import click

from tule.cli.outcome import json_option, show_json
from tule.cli.running import find, target_options


@click.command("status")
@target_options
@json_option
def command(directory: str | None, port: int | None, *, as_json: bool) -> None:
    """Say what is running, where, and how it keeps data."""
    status = find(directory, port).admin("GET", "status")
    if as_json:
        show_json(status)
        return
    for name, value in status["lines"]:
        print(f"{name:<12} {value}")
