"""What moves messages from queues to functions: one poller per enabled event source mapping.

A poller has one long poll open on its queue and hands each batch to a task of its own, as many at a time as the mapping
may have. While all are busy it doesn't ask for more, so messages wait in the queue, where their visibility is not
running.
"""

import asyncio
from typing import TYPE_CHECKING

import structlog
from msgspec.structs import replace

from tule.kernel.clocks import Instant
from tule.kernel.context import RequestContext
from tule.kernel.errors import AwsError
from tule.services.lambda_ import limits, state
from tule.services.lambda_.batches import Message, size_of
from tule.services.lambda_.delivery import Delivery
from tule.services.lambda_.models import Mapping
from tule.store.contract import Cancel
from tule.store.transaction import Txn

if TYPE_CHECKING:
    from tule.services.lambda_.execution import Execution

LONG_POLL_S = 20
RECEIVE_MAX = 10
GROWTH = 5
"""Concurrent batches a mapping gains per second while all it has are busy (AWS: 300 a minute)."""

TROUBLE_FIRST_S, TROUBLE_LONGEST_S = 1.0, 60.0
"""Waits after a queue could not be read (it is gone, or Tule is under pressure)."""

_log = structlog.get_logger("tule.lambda.pollers")


class Pollers:
    """The pollers of this process by mapping."""

    def __init__(self, execution: "Execution") -> None:
        self._execution = execution
        self._env = execution.env
        self._pollers: dict[str, Poller] = {}

    def changed(self, mapping: Mapping) -> None:
        """Bring a mapping that was created or updated, and whose new state is committed, into effect."""
        poller = self._pollers.get(mapping.uuid)
        if poller is not None:
            poller.update(mapping)
        elif mapping.enabled:
            poller = Poller(self._execution, mapping)
            self._pollers[mapping.uuid] = poller
            self._env.tasks.keep(f"poller {mapping.uuid}", poller.run)
        self._env.tasks.spawn(f"settle {mapping.uuid}", self._settle(mapping, poller))

    async def _settle(self, mapping: Mapping, poller: "Poller | None") -> None:
        """Finish a mapping's transition once its poller has: from Creating to Enabled, from Deleting to nothing."""
        if not mapping.enabled and poller is not None:
            await poller.ended.wait()
            if self._pollers.get(mapping.uuid) is poller and not poller.mapping.enabled:
                del self._pollers[mapping.uuid]

        def settle(txn: Txn) -> None:
            current = state.read_mapping(txn, mapping.uuid)
            if current is None or current.modified_ms != mapping.modified_ms or current.state != mapping.state:
                return  # changed again; that change settles it
            if current.state == "Deleting":
                state.erase_mapping(txn, mapping.uuid)
            else:
                state.write_mapping(txn, replace(current, state="Enabled" if current.enabled else "Disabled"))

        context = self._env.background(mapping.account, mapping.region)
        await self._env.store.transact(state.mappings_shard(mapping.account, mapping.region), settle, context)

    def resume(self, mapping: Mapping) -> None:
        """Go on with a mapping that an earlier process left."""
        if mapping.enabled or mapping.state not in ("Enabled", "Disabled"):
            self.changed(mapping)


class Poller:
    """Reads one queue for one function."""

    def __init__(self, execution: "Execution", mapping: Mapping) -> None:
        self._env = execution.env
        self.mapping = mapping
        self._delivery = Delivery(execution)
        self._busy = 0
        self._limit = limits.QUEUE_POLLERS_FIRST
        self._grown_s = 0.0
        self._slot = asyncio.Event()
        self._waiting: list[Message] = []
        self._waiting_bytes = 0
        self._window: Cancel | None = None
        self._poll: asyncio.Task[list[Message]] | None = None
        self._url = ""
        self.ended = asyncio.Event()

    def update(self, mapping: Mapping) -> None:
        """Go on with other settings; a poller that is disabled finishes what it has and ends."""
        revived = mapping.enabled and self.ended.is_set()
        self.mapping = mapping
        self._slot.set()
        if not mapping.enabled and self._poll is not None:
            self._poll.cancel()
        if revived:
            self.ended.clear()
            self._env.tasks.keep(f"poller {mapping.uuid}", self.run)

    async def run(self) -> None:
        """Until the mapping is disabled or deleted, and what it had begun has ended."""
        await self._read()
        await self._finish()
        while self.mapping.enabled:  # again, while the last batches were running
            await self._read()
            await self._finish()
        self.ended.set()

    async def _read(self) -> None:
        trouble_s = 0.0
        while await self._room():
            try:
                messages = await self._receive()
            except AwsError as error:
                trouble_s = min(max(trouble_s * 2, TROUBLE_FIRST_S), TROUBLE_LONGEST_S)
                _log.info("queue not readable", queue=self.mapping.source_arn, reason=error.error_code)
                await self._env.machine.sleep(trouble_s)
                continue
            trouble_s = 0.0
            self._take(messages)

    @property
    def _most(self) -> int:
        return self.mapping.maximum_concurrency or limits.QUEUE_POLLERS_MAX

    async def _room(self) -> bool:
        """Wait until another batch may start, growing while all are busy. False: the mapping is no longer enabled."""
        while self.mapping.enabled and self._busy >= min(self._limit, self._most):
            now_s = self._env.machine.monotonic_s()
            if now_s - self._grown_s >= 1 and self._limit < self._most:
                self._limit += GROWTH
                self._grown_s = now_s
                continue
            self._slot.clear()
            try:
                async with asyncio.timeout(1.0 if self._limit < self._most else None):
                    await self._slot.wait()
            except TimeoutError:
                continue
        return self.mapping.enabled

    async def _receive(self) -> list[Message]:
        """One long poll, or nothing when the mapping was disabled meanwhile."""
        self._poll = asyncio.ensure_future(self._long_poll())
        try:
            return await self._poll
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if task is not None and task.cancelling():
                raise
            return []
        finally:
            self._poll = None

    async def _long_poll(self) -> list[Message]:
        mapping = self.mapping
        aws = self._env.aws_for(self._context())
        if not self._url:
            name = mapping.source_arn.rpartition(":")[2]
            self._url = (await aws.sqs.get_queue_url(QueueName=name))["QueueUrl"]
        wanted = min(RECEIVE_MAX, max(1, mapping.batch_size - len(self._waiting)))
        try:
            answer = await aws.sqs.receive_message(
                QueueUrl=self._url,
                MaxNumberOfMessages=wanted,
                WaitTimeSeconds=LONG_POLL_S,
                MessageSystemAttributeNames=["All"],
                MessageAttributeNames=["All"],
            )
        except AwsError:
            self._url = ""
            raise
        messages: list[Message] = answer.get("Messages") or []
        return messages

    def _context(self) -> RequestContext:
        return self._env.background(self.mapping.account, self.mapping.region)

    def _take(self, messages: list[Message]) -> None:
        """Dispatch a full batch at once, a partial one when its window is over."""
        if not messages:
            if not self._waiting:
                self._limit = limits.QUEUE_POLLERS_FIRST
            return
        mapping = self.mapping
        for message in messages:
            size = size_of(message)
            if self._waiting_bytes + size > limits.QUEUE_BATCH_BYTES:
                self._flush()
            self._waiting.append(message)
            self._waiting_bytes += size
        if len(self._waiting) >= mapping.batch_size or not mapping.window_s:
            self._flush()
        elif self._window is None:
            ends = Instant(self._env.clock.now() + mapping.window_s * 1000)
            self._window = self._env.store.alarm(ends, self._flush)

    def _flush(self) -> None:
        if self._window is not None:
            self._window.cancel()
            self._window = None
        batch, self._waiting, self._waiting_bytes = self._waiting, [], 0
        if batch:
            self._busy += 1
            self._env.tasks.spawn(f"batch of {self.mapping.uuid}", self._deliver(batch))

    async def _deliver(self, batch: list[Message]) -> None:
        try:
            await self._delivery.deliver(self._context(), self.mapping, self._url, batch)
        finally:
            self._busy -= 1
            self._slot.set()

    async def _finish(self) -> None:
        """Let running batches end; messages that wait for their window go with a last one."""
        self._flush()
        while self._busy:
            self._slot.clear()
            await self._slot.wait()
