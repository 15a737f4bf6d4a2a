"""`python -m tule.runtime.checkup`: what this machine offers functions, as JSON, for `tule doctor`."""

import asyncio
import json
import sys
from typing import Any

from tule.runtime.hosts import OLDEST_NODE, Interpreters
from tule.runtime.rungs import FULL, sandbox_rung


def look() -> dict[str, Any]:
    """The Node that would serve functions, and the sandbox they would get, tried out as Tule does it."""
    node = asyncio.run(Interpreters().serving(f"nodejs{OLDEST_NODE}.x"))
    rung = sandbox_rung()
    return {
        "oldest_node": OLDEST_NODE,
        "node": None if node is None else {"version": node.number, "program": node.program},
        "sandbox": rung,
        "full": FULL in rung,
    }


if __name__ == "__main__":
    sys.stdout.write(json.dumps(look()) + "\n")
