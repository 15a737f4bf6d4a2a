"""`tule-worker`: a process per call for what strangers wrote: their zips, templates and regular expressions.

A call runs one allowed function on one value in a fresh interpreter with limits on memory and time, and the process is
gone with its answer. Values are what msgpack carries: None, bool, int, float, str, bytes, lists, dicts.
"""

import asyncio
import os
import sys
from typing import Any, Final

import msgspec

from tule.kernel.clocks import MachineClock

ENTRIES: Final = frozenset(
    {
        "tule.runtime.bytecode:make",
        "tule.runtime.zips:check",
        "tule.runtime.zips:merge",
        "tule.runtime.zips:unpack",
        "tule.services.cloudformation.sam:match_patterns",
        "tule.services.cloudformation.sam:transform",
    }
)
"""What a worker may be asked to run."""

TIME_LIMIT_S: Final = 30.0
MEMORY_LIMIT_BYTES: Final = 1024 * 1024 * 1024
"""Address space of a worker (ours): the SAM transform needs about 200 MB of it."""

AT_ONCE: Final = 2
"""Workers running at the same time (ours); further calls wait."""

ANSWER_MAX_BYTES: Final = 64 * 1024 * 1024


class WorkerError(Exception):
    """The work was not done: it failed, ran out of time or memory, or its process died. Says which."""


class WorkerBrokenError(WorkerError):
    """The work was not done, and what it was given is not to blame: no process, no time, no disk. Says which."""


class Worker:
    """Calls functions in processes of their own."""

    def __init__(self, machine: MachineClock) -> None:
        self.machine = machine
        self._slots = asyncio.Semaphore(AT_ONCE)

    async def call(
        self,
        entry: str,
        payload: Any,
        *,
        time_limit_s: float = TIME_LIMIT_S,
        memory_limit_bytes: int = MEMORY_LIMIT_BYTES,
    ) -> Any:
        """The value that `entry` ("module:function") makes of `payload`. Raises `WorkerError`, and of its kinds
        `WorkerBrokenError` where the fault is not the payload's."""
        if entry not in ENTRIES:
            raise WorkerError(f"{entry} is nothing a worker may run.")
        async with self._slots:
            return await self._run(entry, payload, time_limit_s, memory_limit_bytes)

    async def _run(self, entry: str, payload: Any, time_limit_s: float, memory_limit_bytes: int) -> Any:
        limits = [str(memory_limit_bytes), str(time_limit_s), str(os.getpid())]
        try:
            process = await asyncio.create_subprocess_exec(
                sys.executable, "-P", "-m", "tule.runtime.bootstrap.worker_process", entry, *limits,
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.DEVNULL,
                env={"PATH": os.defpath, "LANG": "C.UTF-8", "PYTHONDONTWRITEBYTECODE": "1"},
                start_new_session=True,
                limit=1024 * 1024,
            )  # fmt: skip
        except OSError as error:
            raise WorkerBrokenError(f"The worker could not be started: {error}") from error
        try:
            async with asyncio.timeout(time_limit_s):
                answer, _ = await process.communicate(msgspec.msgpack.encode(payload))
        except TimeoutError:
            raise WorkerBrokenError(f"The work took longer than {time_limit_s:g} s and was ended.") from None
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
        return _value(answer, process.returncode or 0)


def _value(answer: bytes, code: int) -> Any:
    if not answer:
        raise WorkerBrokenError(f"The worker ended without an answer (exit code {code}): it may have passed a limit.")
    try:
        fate, value = msgspec.msgpack.decode(answer)
    except (msgspec.DecodeError, TypeError, ValueError) as error:
        raise WorkerBrokenError(f"The worker's answer can't be read: {error}") from error
    if fate == "broken":
        raise WorkerBrokenError(str(value))
    if fate != "done":
        raise WorkerError(str(value))
    return value
