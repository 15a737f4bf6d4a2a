# ruff: noqa: PTH100, PTH118, PTH120, PTH123, S102
# A zygote holds few modules, so os and open do what pathlib does elsewhere; strangers' code raises anything.
"""A Python execution environment in a process of its own, for functions whose variables act when Python starts.

Run as `python -S program.py`, already confined, with frames on descriptor 3.
"""

import os
import sys
from typing import Any

FRAMES = 3


def main() -> None:
    folder = os.path.dirname(os.path.abspath(__file__))
    sys.path[:] = [place for place in sys.path if os.path.abspath(place or ".") != folder]
    namespace: dict[str, Any] = {"__name__": "tule zygote", "__file__": os.path.join(folder, "zygote.py")}
    with open(namespace["__file__"], encoding="utf-8") as file:
        exec(compile(file.read(), namespace["__file__"], "exec"), namespace)
    namespace["stand_alone"](FRAMES)


if __name__ == "__main__":
    main()
