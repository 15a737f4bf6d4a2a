"""tule logs"""

import datetime as dt
import json
from typing import Any, Final

import click

from tule.cli.outcome import Failure, json_option
from tule.cli.running import find, target_options

POLL_S: Final = 0.5
"""How often --follow asks for more."""

PREFIX: Final = "/aws/lambda/"


@click.command("logs")
@click.argument("function", required=False)
@click.option("--follow", "-f", is_flag=True, help="Go on printing what comes.")
@click.option(
    "--limit", type=click.IntRange(1), default=1000, show_default=True, help="Lines to print of what there is."
)
@target_options
@json_option
def command(
    function: str | None, limit: int, directory: str | None, port: int | None, *, follow: bool, as_json: bool
) -> None:
    """Print the log of FUNCTION, or of all functions. A name that begins with "/" is a log group."""
    from tule.cli.signing import Api, ApiError

    api = Api(find(directory, port), "logs")
    seen: dict[str, Seen] = {}
    while True:
        try:
            events = new_events(api, _groups(api, function), seen)
        except ApiError as error:
            if not (follow and error.code == "ResourceNotFoundException"):
                raise _explained(error, function) from error
            events = []
        for event in events[-limit:]:
            print(json.dumps(event) if as_json else line_of(event, several=function is None))
        if not follow:
            return
        _wait()


def _groups(api: Any, function: str | None) -> list[str]:
    if function is not None:
        return [function if function.startswith("/") else PREFIX + function]
    answer = api.json("Logs_20140328.DescribeLogGroups", {"logGroupNamePrefix": PREFIX})
    return [group["logGroupName"] for group in answer.get("logGroups", [])]


class Seen:
    """How far a group was read: its latest instant, and which events of that instant were printed."""

    def __init__(self, since_ms: int, ids: set[str]) -> None:
        self.since_ms = since_ms
        self.ids = ids

    def is_new(self, event: dict[str, Any]) -> bool:
        """Whether `event` was not met before; it is from now on."""
        if event["timestamp"] > self.since_ms:
            self.since_ms, self.ids = event["timestamp"], set()
        if event["eventId"] in self.ids:
            return False
        self.ids.add(event["eventId"])
        return True


def new_events(api: Any, groups: list[str], seen: dict[str, Seen]) -> list[dict[str, Any]]:
    """New events of all groups by time; `seen` remembers how far each group has been read."""
    found: list[dict[str, Any]] = []
    for group in groups:
        reached = seen.setdefault(group, Seen(0, set()))
        request: dict[str, Any] = {"logGroupName": group, "startTime": reached.since_ms}
        while True:
            answer = api.json("Logs_20140328.FilterLogEvents", request)
            found += [{**event, "group": group} for event in answer.get("events", []) if reached.is_new(event)]
            if "nextToken" not in answer:
                break
            request["nextToken"] = answer["nextToken"]
    return sorted(found, key=lambda event: event["timestamp"])


def line_of(event: dict[str, Any], *, several: bool) -> str:
    """An event for people; with `several` it says which function's it is."""
    at = dt.datetime.fromtimestamp(event["timestamp"] / 1000, dt.UTC).isoformat(timespec="milliseconds")
    where = f"{event['group'].removeprefix(PREFIX)}  " if several else ""
    return f"{at.replace('+00:00', 'Z')}  {where}{event['message'].rstrip()}"


def _explained(error: Failure, function: str | None) -> Failure:
    return Failure(error.what, f'Has "{function}" run yet? A log begins with the first call.' if function else "")


def _wait() -> None:
    import select

    select.select([], [], [], POLL_S)
