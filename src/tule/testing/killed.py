"""A process that works on a store until it is killed: `python -m tule.testing.killed LOCATION SEED`.

Every answer is written to standard output as it is told, eight bytes each, so that the parent knows what this process
had told anyone when it died.
"""

import asyncio
import os
import struct
import sys
from typing import Final

from tule.testing.workload import Told, make_engine, work

WRITERS: Final = 32
STEPS: Final = 1_000_000
ANSWER: Final = struct.Struct(">II")


def _report(told: Told) -> None:
    os.write(1, ANSWER.pack(told.shard, told.upto))


async def _main(location: str, seed: int) -> None:
    engine = make_engine(location)
    await engine.start()
    await work(engine, seed, _report, writers=WRITERS, steps=STEPS)


if __name__ == "__main__":
    asyncio.run(_main(sys.argv[1], int(sys.argv[2])))
