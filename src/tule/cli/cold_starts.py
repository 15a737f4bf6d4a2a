"""tule cold-starts"""

import shutil
from typing import Any, Final

import click

from tule.cli.outcome import Failure, json_option, show_json
from tule.cli.running import find, target_options

WIDE: Final = 120
"""Columns where the output is no terminal."""

BAR: Final = 40
LEAST_SHARE: Final = 0.01
"""Modules that take less of a cold start are left out, unless all are asked for."""

NUMBERS: Final = 14
"""Columns of a time."""

KINDS: Final = {
    "init": "init phase",
    "restore": "restored from a SnapStart snapshot",
    "plain init": "init phase, as there is no SnapStart snapshot",
}


@click.command("cold-starts")
@click.argument("function")
@click.option("--version", "version", help="One version alone: $LATEST or a number.")
@click.option("--all", "everything", is_flag=True, help="Show modules however little they take.")
@target_options
@json_option
def command(
    function: str, version: str | None, directory: str | None, port: int | None, *, everything: bool, as_json: bool
) -> None:
    """Show where the cold starts of FUNCTION (a name or an ARN) spend their time, and what to import later."""
    answer = find(directory, port).admin("GET", "functions/cold-starts", function=function, version=version)
    if as_json:
        show_json(answer)
        return
    if not answer["versions"]:
        raise Failure(f"No cold start of {function} is known.", "Call it once: `tule invoke` does.")
    for number, report in enumerate(answer["versions"]):
        if number:
            print()
        _show(report, everything=everything)


def _show(report: dict[str, Any], *, everything: bool) -> None:
    name = report["function"].rpartition(":")[2]
    count = f"{report['count']} cold starts, medians" if report["count"] > 1 else "one cold start"
    print(f"{name} {report['version']}  {report['total_ms']:.2f} ms  {KINDS[report['kind']]}  ({count})")
    if report["note"]:
        print(f"SnapStart is off: {report['note']}")
    columns = shutil.get_terminal_size((WIDE, 0)).columns
    whole = max(report["total_ms"], 0.001)
    rows = [(phase, took_ms) for phase, took_ms in report["phases"].items() if phase != "init"]
    init_ms = report["phases"].get("init")
    if init_ms is not None:
        rows.append(("init", init_ms))
        least_ms = 0.0 if everything else LEAST_SHARE * whole
        rows += [
            (f"{'  ' * (one['depth'] + 1)}{one['name']}", one["ms"])
            for one in report["modules"]
            if one["ms"] >= least_ms
        ]
    width = min(max(len(row[0]) for row in rows), max(24, columns - BAR - NUMBERS))
    for label, took_ms in rows:
        bar = "█" * max(1, round(took_ms * BAR / whole)) if took_ms >= whole / BAR / 2 else "▏"
        name = label if len(label) <= width else label[: width - 1] + "…"
        print(f"{name:<{width}} {took_ms:>9.2f} ms  {bar[:BAR]}")
    if report["unpacked_ms"]:
        print(f"Unpacked once, when deployed, in {report['unpacked_ms']:.0f} ms.")
    if report["defer"]:
        defer = report["defer"]
        print(
            f"Worth deferring: {defer['module']}, imported by {defer['imported_by']}. Imported where it is first "
            f"needed, it saves {defer['saving_ms']:.1f} ms of each cold start that doesn't need it."
        )
