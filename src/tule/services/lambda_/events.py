"""Asynchronous invocations: accepted durably, run from a queue, retried on AWS's schedule, each with one fate."""

from collections import deque
from typing import TYPE_CHECKING

import structlog
from msgspec.structs import replace

from tule.kernel.clocks import Instant
from tule.kernel.context import RequestContext, trace_from_header
from tule.kernel.errors import AwsError
from tule.kernel.ports import Span
from tule.observe import ledger
from tule.services.lambda_ import limits, state
from tule.services.lambda_.models import Event, Function
from tule.services.lambda_.throttling import TooManyRequestsError
from tule.store.transaction import ReadTxn, Txn

if TYPE_CHECKING:
    from tule.services.lambda_.execution import Execution, Invocation
    from tule.services.lambda_.resolution import Resolved

RETRIES_EXHAUSTED = "RetriesExhausted"
AGE_EXCEEDED = "EventAgeExceeded"
ZERO_CONCURRENCY = "ZeroReservedConcurrency"

SCAN_PAGE = 500

STORE_TROUBLE_S = 5.0
"""Machine time until an event is taken up again whose outcome the store refused to keep (ours)."""

_log = structlog.get_logger("tule.lambda.events")


def hop(function_name: str) -> str:
    """The ledger's name for a function's queue of events."""
    return f"lambda:{function_name}/async"


class _Queue:
    """One function's events: ids that are ready, and how many run or wait in all."""

    __slots__ = ("account", "name", "ready", "region", "running", "waiting")

    def __init__(self, account: str, region: str, name: str) -> None:
        self.account, self.region, self.name = account, region, name
        self.ready: deque[int] = deque()
        self.running = 0
        self.waiting = 0


class Events:
    """All queues of this process."""

    def __init__(self, execution: "Execution") -> None:
        self._execution = execution
        self._env = execution.env
        self._queues: dict[tuple[str, str, str], _Queue] = {}

    def _queue(self, account: str, region: str, name: str) -> _Queue:
        key = (account, region, name)
        found = self._queues.get(key)
        if found is None:
            found = self._queues[key] = _Queue(account, region, name)
        return found

    async def recover(self, function: Function) -> None:
        """Take up what an earlier process accepted and did not finish."""
        shard = state.function_shard(function.account, function.region, function.name)
        context = self._env.background(function.account, function.region)
        after = 0
        while True:

            def read(txn: ReadTxn, after: int = after) -> list[tuple[int, Event]]:
                return state.scan_events(txn, after, SCAN_PAGE)

            found = await self._env.store.read(shard, read, context)
            queue = self._queue(function.account, function.region, function.name)
            for event_id, event in found:
                queue.waiting += 1
                self._when_ready(queue, event_id, event.ready_ms)
            if len(found) < SCAN_PAGE:
                return
            after = found[-1][0]

    async def accept(self, context: RequestContext, resolved: "Resolved", invocation: "Invocation") -> None:
        """Store an event durably; it runs as soon as there is room."""
        function = resolved.function
        queue = self._queue(function.account, function.region, function.name)
        if queue.waiting >= limits.EVENTS_WAITING_MAX:
            raise TooManyRequestsError("CallerRateLimitExceeded")
        event = Event(
            request_id=invocation.request_id,
            payload=invocation.payload,
            accepted_ms=self._env.clock.now(),
            trace=invocation.trace.header(),
            client_context=invocation.client_context,
            qualifier=invocation.qualifier,
        )

        def accept(txn: Txn) -> int:
            event_id = txn.new_id()
            state.write_event(txn, event_id, event)
            ledger.record(txn, hop(function.name), ledger.ACCEPTED)
            return event_id

        queue.waiting += 1
        try:
            shard = state.function_shard(function.account, function.region, function.name)
            event_id = await self._env.store.transact(shard, accept, context)
        except BaseException:
            queue.waiting -= 1
            raise
        queue.ready.append(event_id)
        self._pump(queue)

    def forget(self, account: str, region: str, name: str) -> None:
        """The function is gone, and its events with it."""
        queue = self._queues.pop((account, region, name), None)
        if queue is not None:
            queue.ready.clear()

    def _when_ready(self, queue: _Queue, event_id: int, ready_ms: int) -> None:
        if ready_ms <= self._env.clock.now():
            self._ready(queue, event_id)
        else:
            self._env.store.alarm(Instant(ready_ms), lambda: self._ready(queue, event_id))

    def _ready(self, queue: _Queue, event_id: int) -> None:
        queue.ready.append(event_id)
        self._pump(queue)

    def _pump(self, queue: _Queue) -> None:
        while queue.ready and queue.running < limits.EVENTS_IN_FLIGHT:
            queue.running += 1
            self._env.tasks.spawn(f"event of {queue.name}", self._run(queue, queue.ready.popleft()))

    async def _run(self, queue: _Queue, event_id: int) -> None:
        try:
            await self._attempt(queue, event_id)
        except AwsError as error:
            # The store takes no writes now. The event is still there, and may run once more than it had to.
            _log.warning("event's end not kept", function=queue.name, reason=error.error_code)
            self._env.machine.call_later(STORE_TROUBLE_S, lambda: self._ready(queue, event_id))
        finally:
            queue.running -= 1
            self._pump(queue)

    async def _attempt(self, queue: _Queue, event_id: int) -> None:
        context = self._env.background(queue.account, queue.region)
        shard = state.function_shard(queue.account, queue.region, queue.name)
        event = await self._env.store.read(shard, lambda txn: state.read_event(txn, event_id), context)
        if event is None:
            return
        if self._env.clock.now() - event.accepted_ms > limits.EVENT_AGE_MAX_S * 1000:
            await self._give_up(queue, context, event_id, event, AGE_EXCEEDED)
            return
        try:
            resolved = await self._execution.find(context, queue.name, event.qualifier)
        except AwsError as error:
            if error.error_code != "ResourceNotFoundException":
                await self._back_off(queue, context, event_id, event, error)
            return  # a function that went took its events along
        if resolved.closed:
            closed = replace(event, last_error="Rate Exceeded.")
            await self._give_up(queue, context, event_id, closed, ZERO_CONCURRENCY)
            return
        try:
            failure = await self._execution.run_event(resolved, event)
        except AwsError as error:
            await self._back_off(queue, context, event_id, event, error)
            return
        if failure is None:
            await self._end(queue, context, event_id, ledger.DELIVERED)
        elif event.attempts >= limits.EVENT_RETRIES:
            await self._give_up(queue, context, event_id, replace(event, last_error=failure), RETRIES_EXHAUSTED)
        else:
            wait_s = limits.EVENT_RETRY_WAITS_S[event.attempts]
            failed = replace(event, attempts=event.attempts + 1, last_error=failure)
            await self._later(queue, context, event_id, failed, wait_s)

    async def _back_off(
        self, queue: _Queue, context: RequestContext, event_id: int, event: Event, error: AwsError
    ) -> None:
        """No capacity, or trouble of ours: the function did not run, so it costs the event time and no attempt."""
        wait_s = min(limits.THROTTLE_WAIT_FIRST_S * 2 ** min(event.throttles, 10), limits.THROTTLE_WAIT_LONGEST_S)
        waiting = replace(event, throttles=event.throttles + 1, last_error=error.message)
        await self._later(queue, context, event_id, waiting, wait_s)

    async def _later(self, queue: _Queue, context: RequestContext, event_id: int, event: Event, wait_s: int) -> None:
        ready_ms = self._env.clock.now() + wait_s * 1000

        def keep(txn: Txn) -> None:
            if state.read_event(txn, event_id) is not None:
                state.write_event(txn, event_id, replace(event, ready_ms=ready_ms))

        await self._env.store.transact(state.function_shard(queue.account, queue.region, queue.name), keep, context)
        self._when_ready(queue, event_id, ready_ms)

    async def _end(self, queue: _Queue, context: RequestContext, event_id: int, fate: str) -> None:
        def end(txn: Txn) -> None:
            if state.read_event(txn, event_id) is not None:
                state.erase_event(txn, event_id)
                ledger.record(txn, hop(queue.name), fate)

        await self._env.store.transact(state.function_shard(queue.account, queue.region, queue.name), end, context)
        queue.waiting -= 1

    async def _give_up(
        self, queue: _Queue, context: RequestContext, event_id: int, event: Event, condition: str
    ) -> None:
        """Dead-letter the event if the function has a queue for that, and account for it in any case."""
        reason = condition
        try:
            resolved = await self._execution.find(context, queue.name)
            if resolved.function.dead_letter_arn:
                await self._dead_letter(context, resolved.function, event)
                await self._end(queue, context, event_id, ledger.DEAD_LETTERED)
                return
        except AwsError as error:
            reason = f"{condition}; the dead-letter queue refused it: {error.error_code}"
        fate = ledger.EXPIRED if condition == AGE_EXCEEDED else ledger.DROPPED

        def end(txn: Txn) -> None:
            if state.read_event(txn, event_id) is not None:
                state.erase_event(txn, event_id)
                ledger.record_abnormal(txn, hop(queue.name), fate, event.request_id, reason, event.trace)

        await self._env.store.transact(state.function_shard(queue.account, queue.region, queue.name), end, context)
        queue.waiting -= 1

    async def _dead_letter(self, context: RequestContext, function: Function, event: Event) -> None:
        """The payload as it was, with Lambda's three attributes."""
        env = self._env
        started_us = env.machine.wall_ms() * 1000
        aws = env.aws_for(context)
        name = function.dead_letter_arn.rpartition(":")[2]
        url = (await aws.sqs.get_queue_url(QueueName=name))["QueueUrl"]
        attributes = {
            "RequestID": {"DataType": "String", "StringValue": event.request_id},
            "ErrorCode": {"DataType": "Number", "StringValue": "200"},
            "ErrorMessage": {"DataType": "String", "StringValue": event.last_error[:1024] or "Unhandled"},
        }
        body = event.payload.decode("utf-8", "replace")
        await aws.sqs.send_message(QueueUrl=url, MessageBody=body, MessageAttributes=attributes)
        trace = trace_from_header(event.trace, env.random, started_us // 1_000_000)
        env.ports.spans.record(
            Span(
                trace, f"dead letter {name}", "dead-letter", started_us, env.machine.wall_ms() * 1000,
                function.account, function.region, function.dead_letter_arn, "ok", event.request_id,
            )
        )  # fmt: skip
