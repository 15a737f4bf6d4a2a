"""One batch on its way through a function: invoke, delete what was processed, leave the rest to the queue."""

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import structlog

from tule.kernel.context import RequestContext, TraceContext, trace_from_header
from tule.kernel.errors import AwsError
from tule.kernel.ports import Span
from tule.services.lambda_ import batches, lineage
from tule.services.lambda_.batches import Message
from tule.services.lambda_.models import Mapping
from tule.services.lambda_.recursion import RecursiveInvocationError
from tule.services.lambda_.throttling import TooManyRequestsError

if TYPE_CHECKING:
    from tule.services.lambda_.execution import Execution

THROTTLE_WAITS_S = (0.05, 0.1, 0.2, 0.4, 0.8, 1.6, 3.2)
"""A batch that finds no capacity is held and tried again, so that its messages' receive counts don't rise for it. After
the last wait it goes back to the queue, as its visibility timeout ends."""

DELETE_MAX = 10

_log = structlog.get_logger("tule.lambda.delivery")


class Delivery:
    """Delivers batches of one mapping."""

    def __init__(self, execution: "Execution") -> None:
        self._execution = execution
        self._env = execution.env

    async def deliver(self, context: RequestContext, mapping: Mapping, url: str, batch: list[Message]) -> None:
        """Failures of the function leave messages in the queue; the queue's own redrive policy counts them."""
        context = replace(context, trace=self._trace(context, batch))
        started_us = self._now_us()
        looped = self._looped(mapping, batch)
        failed, status = looped, RecursiveInvocationError.code
        if len(looped) < len(batch):
            runnable = [message for message in batch if message["MessageId"] not in looped]
            failed, status = await self._process(context, mapping, runnable)
            failed |= looped
        done = [message for message in batch if message["MessageId"] not in failed]
        await self._delete(context, url, done)
        name = mapping.function_arn.split(":")[6]
        notes = (("messages", str(len(batch))), ("deleted", str(len(done))), ("returned", str(len(failed))))
        self._env.ports.spans.record(
            Span(
                context.trace, f"poller {mapping.source_arn.rpartition(':')[2]} → {name}", "poller", started_us,
                self._now_us(), mapping.account, mapping.region, mapping.arn, status, context.request_id, (), notes,
            )
        )  # fmt: skip

    def _now_us(self) -> int:
        return self._env.machine.wall_ms() * 1000

    def _trace(self, context: RequestContext, batch: list[Message]) -> TraceContext:
        """A batch of one goes on in its message's trace; several messages begin a new one, with all their pasts."""
        if len(batch) == 1:
            header = _trace_header(batch[0])
            if not header:
                return context.trace
            return trace_from_header(header, self._env.random, self._env.machine.wall_ms() // 1000)
        pasts = [past for past in map(_lineage, batch) if past]
        return replace(context.trace, lineage=lineage.merged(pasts)) if pasts else context.trace

    def _looped(self, mapping: Mapping, batch: list[Message]) -> set[str]:
        """Messages that went round in a loop through the function: they stay in the queue, for its redrive policy."""
        arn, _, _ = _function_of(mapping)
        mark, key = lineage.mark(arn), (mapping.account, mapping.region, arn.rpartition(":")[2])
        stops = self._execution.guard.stops
        found = {message["MessageId"] for message in batch if stops(key, mark, _lineage(message))}
        if found:
            _log.warning("messages in a recursive loop", mapping=mapping.uuid, messages=len(found))
        return found

    async def _process(self, context: RequestContext, mapping: Mapping, batch: list[Message]) -> tuple[set[str], str]:
        """(ids of messages that stay in the queue, status for the span)."""
        everything = {message["MessageId"] for message in batch}
        payload = batches.event(batch, mapping.source_arn, mapping.region)
        try:
            result = await self._invoke(context, mapping, payload)
        except AwsError as error:
            _log.info("batch not delivered", mapping=mapping.uuid, reason=error.error_code)
            return everything, error.error_code
        if result.error:
            return everything, result.error
        if mapping.report_failures:
            return batches.failed_ids(result.payload, everything), "ok"
        return set(), "ok"

    async def _invoke(self, context: RequestContext, mapping: Mapping, payload: bytes) -> Any:
        _, name, qualifier = _function_of(mapping)
        resolved = await self._execution.find(context, name, qualifier)
        for wait_s in THROTTLE_WAITS_S:
            try:
                return await self._execution.run_payload(context, resolved, payload, qualifier)
            except TooManyRequestsError:
                await self._env.machine.sleep(wait_s)
        return await self._execution.run_payload(context, resolved, payload, qualifier)

    async def _delete(self, context: RequestContext, url: str, messages: list[Message]) -> None:
        aws = self._env.aws_for(context)
        for start in range(0, len(messages), DELETE_MAX):
            entries = [
                {"Id": str(index), "ReceiptHandle": message["ReceiptHandle"]}
                for index, message in enumerate(messages[start : start + DELETE_MAX])
            ]
            try:
                await aws.sqs.delete_message_batch(QueueUrl=url, Entries=entries)
            except AwsError as error:
                _log.warning("processed messages not deleted", queue=url, reason=error.error_code)


def _function_of(mapping: Mapping) -> tuple[str, str, str]:
    """(unqualified ARN, name, qualifier or "")."""
    parts = mapping.function_arn.split(":")
    return ":".join(parts[:7]), parts[6], parts[7] if len(parts) > 7 else ""


def _trace_header(message: Message) -> str:
    return (message.get("Attributes") or {}).get("AWSTraceHeader") or ""


def _lineage(message: Message) -> str:
    header = _trace_header(message)
    return lineage.of_header(header) if "Lineage=" in header else ""
