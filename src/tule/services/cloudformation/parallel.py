"""Steps that depend on one another, as many at once as may be."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping

MAX_AT_ONCE = 16
"""Resources of one stack that are worked on at once (ours; each is a call or two into a service)."""


async def in_parallel(
    needs: Mapping[str, set[str]], step: Callable[[str], Awaitable[bool]], *, go_on: bool = False
) -> list[str]:
    """Run `step` for every name after those it needs; it tells whether it went well. Gives the names that failed.

    After a failure nothing new is begun; with `go_on`, only what needs the failed one is left out. What runs is always
    waited for, so that its outcome is known; an exception is raised after that.
    """
    waiting = list(needs)
    done: set[str] = set()
    failed: list[str] = []
    broken: list[BaseException] = []
    tasks: dict[asyncio.Task[bool], str] = {}
    try:
        while True:
            if not broken and (not failed or go_on):
                for name in [name for name in waiting if needs[name] & needs.keys() <= done][
                    : MAX_AT_ONCE - len(tasks)
                ]:
                    waiting.remove(name)
                    tasks[asyncio.ensure_future(step(name))] = name
            if not tasks and broken:
                raise broken[0]
            if not tasks:
                return failed
            finished, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in finished:
                name = tasks.pop(task)
                if (error := task.exception()) is not None:
                    broken.append(error)
                elif task.result():
                    done.add(name)
                else:
                    failed.append(name)
    finally:
        for task in tasks:
            task.cancel()


def reversed_needs(needs: Mapping[str, set[str]]) -> dict[str, set[str]]:
    """For each name, who needs it: the order in which things are taken down."""
    return {name: {other for other, wants in needs.items() if name in wants} for name in needs}
