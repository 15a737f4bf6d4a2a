"""tule traces"""

import shutil
from typing import Any, Final

import click

from tule.cli.outcome import json_option, show_json
from tule.cli.running import find, target_options

WIDE: Final = 200
"""Columns where the output is no terminal."""

BAR: Final = 32
NARROW_BAR: Final = 16
"""Characters of the waterfall, and of the one in a terminal of less than `ROOMY` columns."""

ROOMY: Final = 150
NAMES: Final = range(32, 65)
"""How wide the names of hops may be: at least, and below what."""

NUMBERS: Final = 60
"""Columns that are left for how long a hop took and what it cost."""


@click.command("traces")
@click.argument("trace_id", required=False)
@click.option("--limit", default=20, show_default=True, help="Traces to list.")
@target_options
@json_option
def command(trace_id: str | None, limit: int, directory: str | None, port: int | None, *, as_json: bool) -> None:
    """List the latest traces, or show one as a waterfall with the price of each hop ("latest" for the newest)."""
    running = find(directory, port)
    if trace_id == "latest":
        newest = running.admin("GET", "traces", limit=1)["traces"]
        trace_id = newest[0]["trace"] if newest else None
    if trace_id is None:
        answer = running.admin("GET", "traces", limit=limit)
        show_json(answer) if as_json else _list(answer)
        return
    answer = running.admin("GET", f"traces/{trace_id}")
    show_json(answer) if as_json else _waterfall(answer)


def _list(answer: dict[str, Any]) -> None:
    if not answer["traces"]:
        print("No trace has been recorded yet.")
    for trace in answer["traces"]:
        took = f"{trace['duration_ms']:>9.2f} ms"
        print(f"{trace['start']}  {trace['trace']}  {took}  {trace['status']:<8}  {trace['name']}")


def _waterfall(answer: dict[str, Any]) -> None:
    spans = answer["spans"]
    begin, end = spans[0]["start_us"], max(span["end_us"] for span in spans)
    whole = max(end - begin, 1)
    columns = shutil.get_terminal_size((WIDE, 0)).columns
    room = BAR if columns >= ROOMY else NARROW_BAR
    longest = max(len("  " * span["depth"] + span["name"]) for span in spans)
    width = min(longest, NAMES[-1], max(NAMES[0], columns - room - NUMBERS))
    print(f"{answer['trace']}  {whole / 1000:.2f} ms  {len(spans)} hops")
    for span in spans:
        name = "  " * span["depth"] + span["name"]
        name = name if len(name) <= width else name[: width - 1] + "…"
        left = int((span["start_us"] - begin) * room / whole)
        length = max(1, round((span["end_us"] - span["start_us"]) * room / whole))
        bar = (" " * min(left, room - 1) + "█" * length)[:room]
        took = (span["end_us"] - span["start_us"]) / 1000
        status = "" if span["status"] == "ok" else f"  {span['status']}"
        print(f"{name:<{width}}  |{bar:<{room}}| {took:>9.2f} ms  {_price(span['units'])}{status}")
    unpriced = f", not counting {', '.join(answer['unpriced'])} (unpriced)" if answer["unpriced"] else ""
    print(f"Price of this trace at AWS: ${answer['usd']}{unpriced}; {answer['book']}.")


def _price(units: list[dict[str, Any]]) -> str:
    parts = []
    for line in units:
        price = "unpriced" if line["usd"] is None else f"${line['usd']}"
        parts.append(f"{line['meter']} {line['units']:g}: {price}")
    return "; ".join(parts) or "-"
