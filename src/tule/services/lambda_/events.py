"""Asynchronous invocations: accepted durably, run from a queue, retried on AWS's schedule, each with one fate."""

import dataclasses
from collections import deque
from typing import TYPE_CHECKING

import structlog
from msgspec.structs import replace

from tule.kernel.clocks import Instant
from tule.kernel.context import RequestContext
from tule.kernel.errors import AwsError
from tule.observe import ledger
from tule.services.lambda_ import invoking_state, limits, state
from tule.services.lambda_.conclusions import Conclusions, Turn, hop
from tule.services.lambda_.models import Function
from tule.services.lambda_.queued_event import (
    AGE_EXCEEDED,
    RECURSIVE,
    RETRIES_EXHAUSTED,
    SUCCESS,
    ZERO_CONCURRENCY,
    Event,
    Response,
)
from tule.services.lambda_.recursion import RecursiveInvocationError
from tule.services.lambda_.throttling import CALLER, TooManyRequestsError
from tule.store.transaction import ReadTxn, Txn

if TYPE_CHECKING:
    from tule.services.lambda_.execution import Execution, Invocation
    from tule.services.lambda_.resolution import Resolved

SCAN_PAGE = 500

STORE_TROUBLE_S = 5.0
"""Machine time until an event is taken up again whose outcome the store refused to keep (ours)."""

_log = structlog.get_logger("tule.lambda.events")


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
        self._conclusions = Conclusions(execution.env)
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
            raise TooManyRequestsError(CALLER)
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
            await self._take_up(queue, event_id)
        except AwsError as error:
            # The store takes no writes now. The event is still there, and may run once more than it had to.
            _log.warning("event's end not kept", function=queue.name, reason=error.error_code)
            self._env.machine.call_later(STORE_TROUBLE_S, lambda: self._ready(queue, event_id))
        finally:
            queue.running -= 1
            self._pump(queue)

    async def _take_up(self, queue: _Queue, event_id: int) -> None:
        context = self._env.background(queue.account, queue.region)
        shard = state.function_shard(queue.account, queue.region, queue.name)

        def read(txn: ReadTxn) -> Turn | None:
            event = state.read_event(txn, event_id)
            if event is None:
                return None
            config = invoking_state.config_in_force(txn, event.qualifier)
            return Turn(context, shard, queue.name, event_id, event, config)

        turn = await self._env.store.read(shard, read, context)
        if turn is None:
            return
        if turn.event.conclusion is None:
            await self._attempt(queue, turn)
        else:
            await self._conclude(queue, turn)

    async def _attempt(self, queue: _Queue, turn: Turn) -> None:
        event = turn.event
        if self._age_ms(event) > turn.config.age_max_ms:
            await self._end(queue, turn, AGE_EXCEEDED, event.response)
            return
        try:
            resolved = await self._execution.find(turn.context, queue.name, event.qualifier)
            if resolved.closed:
                await self._end(queue, turn, ZERO_CONCURRENCY, None)
                return
            outcome = await self._execution.run_event(resolved, event)
        except RecursiveInvocationError as error:
            await self._end(queue, turn, RECURSIVE, _refusal(error))
            return
        except AwsError as error:
            await self._back_off(queue, turn, error)
            return
        response = Response(200, resolved.function.version, outcome.error, outcome.payload)
        ran = dataclasses.replace(turn, event=replace(event, attempts=event.attempts + 1, response=response))
        if not outcome.error:
            await self._end(queue, ran, SUCCESS, response)
        elif event.attempts >= turn.config.retries_max:
            await self._end(queue, ran, RETRIES_EXHAUSTED, response)
        else:
            await self._try_again(queue, ran, limits.EVENT_RETRY_WAITS_S[event.attempts])

    async def _try_again(self, queue: _Queue, turn: Turn, wait_s: int) -> None:
        """After the function failed; at once to its end if the event would be too old by then, as on AWS."""
        if self._age_ms(turn.event) + wait_s * 1000 > turn.config.age_max_ms:
            await self._end(queue, turn, AGE_EXCEEDED, turn.event.response)
        else:
            await self._later(queue, turn, turn.event, wait_s)

    async def _back_off(self, queue: _Queue, turn: Turn, error: AwsError) -> None:
        """No capacity, or trouble of ours: the function did not run, so it costs the event time and no attempt."""
        event = turn.event
        left_ms = turn.config.age_max_ms - self._age_ms(event)
        refused = replace(event, throttles=event.throttles + 1, response=_refusal(error))
        if left_ms <= 0:
            await self._end(queue, turn, AGE_EXCEEDED, refused.response)
            return
        wait_s = min(limits.THROTTLE_WAIT_FIRST_S * 2 ** min(event.throttles, 10), limits.THROTTLE_WAIT_LONGEST_S)
        await self._later(queue, turn, refused, min(wait_s, left_ms / 1000))

    def _age_ms(self, event: Event) -> int:
        return self._env.clock.now() - event.accepted_ms

    async def _later(self, queue: _Queue, turn: Turn, event: Event, wait_s: float) -> None:
        ready_ms = self._env.clock.now() + round(wait_s * 1000)

        def keep(txn: Txn) -> bool:
            if state.read_event(txn, turn.id) is None:
                return False
            state.write_event(txn, turn.id, replace(event, ready_ms=ready_ms))
            return True

        if await self._env.store.transact(turn.shard, keep, turn.context):
            self._when_ready(queue, turn.id, ready_ms)

    async def _end(self, queue: _Queue, turn: Turn, condition: str, response: Response | None) -> None:
        ended = await self._conclusions.decide(turn, condition, response)
        if ended is None:
            queue.waiting -= 1
        else:
            await self._conclude(queue, ended)

    async def _conclude(self, queue: _Queue, turn: Turn) -> None:
        unfinished = await self._conclusions.proceed(turn)
        if unfinished is None:
            queue.waiting -= 1
        else:
            await self._later(queue, turn, *unfinished)


def _refusal(error: AwsError) -> Response:
    return Response(error.error_status, error=error.error_code, message=error.message)
