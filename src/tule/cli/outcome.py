"""How a command ends: what it prints, and errors that say what, why and how to fix it."""

import json
import sys
from typing import Any, Final

import click

FAILED: Final = 1
USAGE: Final = 2
NOT_RUNNING: Final = 3

json_option = click.option("--json", "as_json", is_flag=True, help="Print one JSON document instead of text.")


class Failure(Exception):  # noqa: N818 - it is how a command ends, not only an error
    """A command's honest end: `what` happened and why, and how to fix it."""

    def __init__(self, what: str, fix: str = "", exit_code: int = FAILED) -> None:
        super().__init__(what)
        self.what = what
        self.fix = fix
        self.exit_code = exit_code

    def show(self) -> None:
        """To stderr; as JSON if the command was asked for JSON."""
        if wants_json():
            print(json.dumps({"error": {"message": self.what, "fix": self.fix}}), file=sys.stderr)
            return
        print(f"tule: {self.what}", file=sys.stderr)
        if self.fix:
            print(f"      {self.fix}", file=sys.stderr)


def wants_json() -> bool:
    """Whether JSON was asked for: known before the arguments are understood, so that errors in them can be JSON too."""
    return "--json" in sys.argv


def show_json(value: Any) -> None:
    print(json.dumps(value, indent=2))
