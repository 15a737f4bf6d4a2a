"""The end of an asynchronous invocation: decided once, told to everybody who is to know, then accounted for."""

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING

import structlog
from msgspec.structs import replace

from tule.kernel.context import RequestContext, TraceContext, trace_from_header
from tule.kernel.errors import AwsError
from tule.kernel.ports import Span
from tule.observe import ledger
from tule.services.lambda_ import limits, lineage, state
from tule.services.lambda_.destinations import Telling, is_passing, tell
from tule.services.lambda_.invoke_config import InvokeConfig
from tule.services.lambda_.queued_event import (
    AGE_EXCEEDED,
    SUCCESS,
    Conclusion,
    Event,
    Response,
    Target,
)
from tule.store.transaction import ReadTxn, ShardKey, Txn

if TYPE_CHECKING:
    from tule.services.declaration import Environment

_log = structlog.get_logger("tule.lambda.conclusions")


def hop(function_name: str) -> str:
    """The ledger's name for a function's queue of events."""
    return f"lambda:{function_name}/async"


@dataclass(frozen=True, slots=True)
class Turn:
    """One event that is being worked on."""

    context: RequestContext
    shard: ShardKey
    function: str
    id: int
    event: Event
    config: InvokeConfig

    @property
    def function_arn(self) -> str:
        """Unqualified."""
        return self.context.arn("lambda", f"function:{self.function}")


class Conclusions:
    """Ends events."""

    def __init__(self, env: "Environment") -> None:
        self._env = env

    async def decide(self, turn: Turn, condition: str, response: Response | None) -> Turn | None:
        """Keep that the event has ended, and whom that is to be told. None if nobody: then it is gone already.

        What was decided is not decided again: after a crash in the middle of the telling, the telling goes on.
        """
        at_ms = self._env.clock.now()

        def decide(txn: Txn) -> Event | None:
            if state.read_event(txn, turn.id) is None:
                return None
            targets = _targets(txn, turn.config, condition)
            ended = replace(
                turn.event,
                response=response,
                conclusion=Conclusion(condition=condition, at_ms=at_ms, targets=targets),
            )
            if targets:
                state.write_event(txn, turn.id, ended)
                return ended
            _close(txn, turn, ended)
            return None

        event = await self._env.store.transact(turn.shard, decide, turn.context)
        return None if event is None else dataclasses.replace(turn, event=event)

    async def proceed(self, turn: Turn) -> tuple[Event, int] | None:
        """Tell the targets that are left. None when the event is gone, else the event and after how many seconds to
        try again."""
        told = turn.event.conclusion
        assert told is not None
        remaining = []
        for target in told.targets:
            try:
                await self._tell(turn, told, target)
            except AwsError as error:
                passing = is_passing(error)
                _log.info("not taken", target=target.arn, reason=error.error_code, again=passing)
                if passing:
                    remaining.append(target)
                else:
                    told = replace(told, refusal=f"{target.arn} refused it: {error.error_code}")
            else:
                told = replace(told, taken=True)
        told = replace(told, targets=tuple(remaining), tries=told.tries + 1)
        event = replace(turn.event, conclusion=told)
        wait_s = min(2 ** min(told.tries, 9), limits.THROTTLE_WAIT_LONGEST_S)
        if remaining and self._env.clock.now() + wait_s * 1000 <= told.at_ms + limits.EVENT_AGE_MAX_S * 1000:
            return event, wait_s
        await self._env.store.transact(turn.shard, lambda txn: _close(txn, turn, event), turn.context)
        return None

    async def _tell(self, turn: Turn, conclusion: Conclusion, target: Target) -> None:
        env, event = self._env, turn.event
        started_us = env.machine.wall_ms() * 1000
        trace = self._trace(turn)
        context = dataclasses.replace(turn.context, trace=trace)
        telling = Telling(env.aws_for(context), turn.function_arn, turn.function, event, conclusion, env.random.uuid())
        status = "ok"
        try:
            await tell(target, telling)
        except AwsError as error:
            status = error.error_code
            raise
        finally:
            name = target.arn.rpartition(":")[2]
            kind = "dead letter" if target.dead_letter else "destination"
            env.ports.spans.record(
                Span(
                    trace, f"{kind} {name}", "dead-letter", started_us, env.machine.wall_ms() * 1000, context.account,
                    context.region, target.arn, status, event.request_id,
                )
            )  # fmt: skip

    def _trace(self, turn: Turn) -> TraceContext:
        """In the event's trace, past its function: a chain of destinations is a loop like any other."""
        told = trace_from_header(turn.event.trace, self._env.random, self._env.machine.wall_ms() // 1000)
        if turn.event.attempts:
            told.lineage = lineage.advanced(told.lineage, lineage.mark(turn.function_arn))
        return told


def _targets(txn: ReadTxn, config: InvokeConfig, condition: str) -> tuple[Target, ...]:
    """Whom the end is told: the dead-letter queue and the destination alike, if a function has both."""
    if condition == SUCCESS:
        return (Target(config.on_success),) if config.on_success else ()
    function = state.read_function(txn)
    targets = [Target(function.dead_letter_arn, dead_letter=True)] if function and function.dead_letter_arn else []
    if config.on_failure:
        targets.append(Target(config.on_failure))
    return tuple(targets)


def _close(txn: Txn, turn: Turn, event: Event) -> None:
    """The event's one fate, in the batch that takes it out of the queue."""
    ended = event.conclusion
    assert ended is not None
    if state.read_event(txn, turn.id) is None:
        return
    state.erase_event(txn, turn.id)
    where = hop(turn.function)
    if ended.condition == SUCCESS:
        ledger.record(txn, where, ledger.DELIVERED)
        return
    if ended.taken:
        ledger.record(txn, where, ledger.DEAD_LETTERED)
        return
    fate = ledger.EXPIRED if ended.condition == AGE_EXCEEDED else ledger.DROPPED
    unreached = ended.refusal or (f"{ended.targets[0].arn} could not be reached" if ended.targets else "")
    reason = f"{ended.condition}; {unreached}" if unreached else ended.condition
    ledger.record_abnormal(txn, where, fate, event.request_id, reason, event.trace)
