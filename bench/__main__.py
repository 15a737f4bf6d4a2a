"""Every table, one after the other. `python -m bench [--json] [--peer URL] [--quick]`."""

import subprocess
import sys
from pathlib import Path

NOT_TABLES = {"__init__", "__main__", "client", "harness", "ordinary_user", "responder", "signing", "workloads"}


def tables() -> list[str]:
    return sorted(path.stem for path in Path(__file__).parent.glob("*.py") if path.stem not in NOT_TABLES)


if __name__ == "__main__":
    failed = []
    for name in tables():
        done = subprocess.run([sys.executable, "-m", f"bench.{name}", *sys.argv[1:]], check=False)
        if done.returncode:
            failed.append(name)
    if failed:
        print("short or failed:", ", ".join(failed), file=sys.stderr)
    sys.exit(bool(failed))
