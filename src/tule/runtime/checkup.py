"""`python -m tule.runtime.checkup HOME`: what this machine offers functions, as JSON, for `tule doctor`."""

import asyncio
import json
import sys
from pathlib import Path
from typing import Any

from tule.runtime import node_sdk
from tule.runtime.hosts import OLDEST_NODE, Interpreters
from tule.runtime.rungs import look as look_at_rung


def look(home: Path) -> dict[str, Any]:
    """The Node that would serve functions, the sandbox they would get, tried out as Tule does it, and why the last
    attempt at the AWS SDK for JavaScript failed ("" if it didn't)."""
    note = node_sdk.failure_note(home / "cache")
    node = asyncio.run(Interpreters().serving(f"nodejs{OLDEST_NODE}.x"))
    rung = look_at_rung()
    return {
        "oldest_node": OLDEST_NODE,
        "node": None if node is None else {"version": node.number, "program": node.program},
        "sandbox": rung.text,
        "missing": rung.missing,
        "sdk_failure": note.read_text() if note.exists() else "",
    }


if __name__ == "__main__":
    sys.stdout.write(json.dumps(look(Path(sys.argv[1]))) + "\n")
