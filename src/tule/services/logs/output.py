"""Function output on its way into log groups: taken from the bounded queue, many lines a transaction."""

import asyncio
from typing import Final

import structlog

from tule.kernel.errors import AwsError
from tule.observe.logsink import LogBatch, LogQueue
from tule.services.declaration import Environment
from tule.services.logs import state
from tule.services.logs.operations.events import append_output
from tule.store.transaction import Txn

BATCHES_A_TURN: Final = 500
"""Batches taken at once; they are merged by group and stream, so that a busy function costs few rows."""

_TASK: Final = "output"
_log = structlog.get_logger("tule.logs")


async def start(env: Environment) -> None:
    """Begin to empty the queue."""
    queue = env.ports.logs
    assert isinstance(queue, LogQueue), "app wires observe's queue as the log sink"
    env.state[_TASK] = env.tasks.keep("logs: function output", lambda: _drain(env, queue))


async def stop(env: Environment) -> None:
    """Stop; lines still in the queue are lost with the process, as relaxed durability says."""
    task: asyncio.Task[None] = env.state.pop(_TASK)
    task.cancel()


async def _drain(env: Environment, queue: LogQueue) -> None:
    while True:
        groups: dict[tuple[str, str, str], dict[str, list[tuple[int, str]]]] = {}
        for batch in await queue.take(BATCHES_A_TURN):
            _merge(groups, batch)
        for (account, region, group), streams in groups.items():
            await _write(env, account, region, group, streams)


def _merge(groups: dict[tuple[str, str, str], dict[str, list[tuple[int, str]]]], batch: LogBatch) -> None:
    streams = groups.setdefault((batch.account, batch.region, batch.group), {})
    streams.setdefault(batch.stream, []).extend(batch.events)


async def _write(
    env: Environment, account: str, region: str, group: str, streams: dict[str, list[tuple[int, str]]]
) -> None:
    def append(txn: Txn) -> None:
        for stream, lines in streams.items():
            append_output(txn, group, stream, lines)

    try:
        await env.store.transact(state.shard(account, region, group), append, env.background(account, region))
    except AwsError as error:
        lost = sum(len(lines) for lines in streams.values())
        _log.warning("function output lost", group=group, lines=lost, reason=error.error_code)
