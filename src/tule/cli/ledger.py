"""tule ledger"""

from typing import Any

import click

from tule.cli.outcome import FAILED, json_option, show_json
from tule.cli.running import find, target_options


@click.command("ledger")
@click.option("--rows", default=20, show_default=True, help="Abnormal fates to show.")
@target_options
@json_option
def command(rows: int, directory: str | None, port: int | None, *, as_json: bool) -> int:
    """Prove what became of every accepted event: accepted = the sum of its fates + pending, hop by hop."""
    answer = find(directory, port).admin("GET", "ledger", rows=rows)
    if as_json:
        show_json(answer)
    else:
        _print(answer)
    return 0 if answer["balanced"] else FAILED


def _print(answer: dict[str, Any]) -> None:
    if not answer["hops"]:
        print("No event has been accepted yet.")
        return
    width = max(len(hop["hop"]) for hop in answer["hops"])
    for hop in answer["hops"]:
        fates = "".join(f"  {fate} {count}" for fate, count in hop["fates"].items())
        mark = "" if hop["pending"] >= 0 else "  <- more ended than began: this is a defect of Tule"
        print(f"{hop['hop']:<{width}}  accepted {hop['accepted']}{fates}  pending {hop['pending']}{mark}")
    for row in answer["abnormal"]:
        print(f"{row['at']}  {row['hop']}  {row['fate']}  {row['event']}")
        print(f"{'':<24}  {row['reason']}")
        if row["trace"]:
            print(f"{'':<24}  tule traces {row['trace']}")
