"""ReceiveMessage: what is there at once, or what comes while the caller waits."""

import asyncio
from collections.abc import Callable, Sequence
from typing import Any, Final, NamedTuple

from tule.kernel.context import TraceContext, trace_from_header
from tule.kernel.errors import AwsError
from tule.kernel.ports import Span
from tule.kernel.randomness import RandomSource
from tule.observe.ledger import EXPIRED, record
from tule.observe.metering import meter, meter_read
from tule.services.declaration import Context
from tule.services.sqs import limits
from tule.services.sqs.contents import TRACE_HEADER, Attributes, md5_of_attributes
from tule.services.sqs.delivery import dead_letter
from tule.services.sqs.errors import invalid_value
from tule.services.sqs.names import shard_of_url
from tule.services.sqs.queue import Existing, OwnedQueue, existing
from tule.services.sqs.receipts import Handles
from tule.services.sqs.sending import REQUESTS
from tule.store.layers.queues import Received, Taken, take
from tule.store.layers.queues_rows import Message, State
from tule.store.transaction import ShardKey, Txn

ALL: Final = "All"
_OWN_HEADER: Final = len("Root=1-5759e988-bd862e3fe1be46a994272793;Parent=53995c3f42cd8ad8;Sampled=1")
_SYSTEM_NAMES: Final = frozenset(
    (
        ALL,
        "SenderId",
        "SentTimestamp",
        "ApproximateReceiveCount",
        "ApproximateFirstReceiveTimestamp",
        "SequenceNumber",
        "MessageDeduplicationId",
        "MessageGroupId",
        TRACE_HEADER,
        "DeadLetterQueueSourceArn",
    )
)


class Wish(NamedTuple):
    """A ReceiveMessage request, checked. None stands for the queue's own setting."""

    limit: int
    visibility_ms: int | None
    wait_s: int | None
    system: frozenset[str]
    names: Sequence[str]


class Answer(NamedTuple):
    """What one look at the queue brought."""

    messages: list[dict[str, Any]]
    received: list[Message]
    dead: list[Message]
    """Those that the look moved to the dead-letter queue."""
    wait_s: int


def read_wish(request: dict[str, Any]) -> Wish:
    limit = request.get("MaxNumberOfMessages")
    if limit is None:
        limit = 1
    elif not 1 <= limit <= limits.MAX_RECEIVED:
        raise invalid_value(limit, "MaxNumberOfMessages", "Must be between 1 and 10, if provided.")
    wait_s = request.get("WaitTimeSeconds")
    if wait_s is not None and not 0 <= wait_s <= limits.MAX_WAIT_S:
        raise invalid_value(wait_s, "WaitTimeSeconds", "Must be >= 0 and <= 20, if provided.")
    visibility_s = request.get("VisibilityTimeout")
    if visibility_s is not None and not 0 <= visibility_s <= limits.MAX_VISIBILITY_S:
        raise invalid_value(visibility_s, "VisibilityTimeout", "Must be >= 0 and <= 43200, if provided.")
    if (attempt := request.get("ReceiveRequestAttemptId")) is not None:
        reason = "The request include parameter that is not valid for this queue type."
        raise invalid_value(attempt, "ReceiveRequestAttemptId", reason)
    system = frozenset((*(request.get("AttributeNames") or ()), *(request.get("MessageSystemAttributeNames") or ())))
    if not system <= _SYSTEM_NAMES:
        unknown = min(system - _SYSTEM_NAMES)
        raise AwsError(f"Unknown Attribute {unknown}.", code="InvalidAttributeName")
    names = request.get("MessageAttributeNames") or ()
    return Wish(limit, None if visibility_s is None else visibility_s * 1000, wait_s, system, names)


class _Look:
    """One look at the queue, as a transaction; the first is the one that is counted as a request."""

    __slots__ = ("first", "home", "waker", "wish")

    def __init__(self, wish: Wish) -> None:
        self.wish = wish
        self.first = True
        self.waker: Callable[[], None] | None = None
        self.home: OwnedQueue | None = None

    def __call__(self, txn: Txn) -> Answer:
        if self.first:
            txn.context.usage.clear()  # an earlier attempt may have counted
        found = existing(txn)
        wish, settings, queue = self.wish, found.settings, found.queue
        wait_s = settings.wait_s if wish.wait_s is None else wish.wait_s
        window = found.window
        if window.in_flight >= limits.MAX_IN_FLIGHT and not window.uncounted(txn.now):
            raise AwsError(
                f"The maximum number of in flight messages, {limits.MAX_IN_FLIGHT}, is reached.", code="OverLimit"
            )
        visibility_ms = settings.visibility_ms if wish.visibility_ms is None else wish.visibility_ms
        taken = take(txn, window, wish.limit, visibility_ms, settings.terms)
        self._settle(txn, found, taken)
        dead = [message for _, message in taken.dead]
        if not taken.received:
            if self.first:
                meter_read(txn, REQUESTS, 1)
            if wait_s and self.waker is not None:
                self.home = queue
                queue.waiting[self.waker] = None
            return Answer([], [], dead, wait_s)
        if self.first:
            meter(txn, REQUESTS, 1)
        if queue.waiting:
            txn.after_commit(lambda: queue.wake(1) if window.visible > 0 else queue.watch_again())
        handles = Handles(settings.identity, window.rows.generation, txn.now)
        messages = [_shown(one, handles, wish) for one in taken.received]
        return Answer(messages, [one.message for one in taken.received], dead, wait_s)

    @staticmethod
    def _settle(txn: Txn, found: Existing, taken: Taken) -> None:
        """Give a fate to what the look removed."""
        if taken.expired:
            record(txn, found.settings.hop, EXPIRED, taken.expired)
        redrive = found.settings.redrive
        for state, message in taken.dead:
            assert redrive is not None, "nothing is dead-lettered without a redrive policy"
            dead_letter(txn, found, redrive, state, message)


async def receive_message(ctx: Context, request: dict[str, Any]) -> dict[str, Any]:
    """Messages that are there; without any, the first that come within the wait."""
    wish = read_wish(request)
    shard = shard_of_url(ctx.request, request)
    look = _Look(wish)
    answer = await (_look(ctx, shard, look) if wish.wait_s == 0 else _wait(ctx, shard, look))
    return {"Messages": answer.messages} if answer.messages else {}


async def _look(ctx: Context, shard: ShardKey, look: _Look) -> Answer:
    answer: Answer = await ctx.store.transact(shard, look, ctx.request)
    if answer.received or answer.dead:
        _note(ctx, shard, answer)
    return answer


async def _wait(ctx: Context, shard: ShardKey, look: _Look) -> Answer:
    machine = ctx.env.machine
    woken = asyncio.Event()
    look.waker = woken.set  # bound methods of one object are equal, so this names the waiter
    until_s: float | None = None
    try:
        while True:
            woken.clear()
            answer = await _look(ctx, shard, look)
            if until_s is None:
                until_s = machine.monotonic_s() + answer.wait_s
                if ctx.request.deadline_s is not None:
                    until_s = min(until_s, ctx.request.deadline_s)
            left_s = until_s - machine.monotonic_s()
            if answer.messages or left_s <= 0:
                return answer
            look.first = False
            timer = machine.call_later(left_s, woken.set)
            if look.home is not None:
                look.home.watch(ctx.env)
            try:
                await woken.wait()
            finally:
                timer.cancel()
    except BaseException:
        if look.home is not None:
            look.home.wake(1)  # whoever leaves without an answer may have been woken for a message
        raise
    finally:
        if look.home is not None:
            look.home.waiting.pop(woken.set, None)


def _shown(one: Received, handles: Handles, wish: Wish) -> dict[str, Any]:
    """A message as ReceiveMessage shows it."""
    number, state, message = one
    shown: dict[str, Any] = {
        "MessageId": message.message_id,
        "ReceiptHandle": handles.of(number, state.visible_at, state.receives),
        "MD5OfBody": message.md5,
        "Body": message.body,
    }
    if wish.system:
        system = _system_attributes(state, message)
        if ALL not in wish.system:
            system = {name: value for name, value in system.items() if name in wish.system}
        if system:
            shown["Attributes"] = system
    if wish.names and message.attributes:
        chosen = _chosen(message.attributes, wish.names)
        if chosen:
            shown["MessageAttributes"] = chosen
            shown["MD5OfMessageAttributes"] = md5_of_attributes(chosen)
    return shown


def _system_attributes(state: State, message: Message) -> dict[str, str]:
    values = {
        "SenderId": message.sender,
        "SentTimestamp": str(message.sent_at),
        "ApproximateReceiveCount": str(state.receives),
        "ApproximateFirstReceiveTimestamp": str(state.first_received),
    }
    if message.trace:
        values[TRACE_HEADER] = message.trace
    if message.group:
        values["MessageGroupId"] = message.group
    if message.source_arn:
        values["DeadLetterQueueSourceArn"] = message.source_arn
    return values


def _chosen(attributes: Attributes, names: Sequence[str]) -> Attributes:
    """The attributes asked for: all of them ("All", ".*"), by beginning ("prefix.*"), or by name."""
    if ALL in names or ".*" in names:
        return attributes
    beginnings = tuple(name[:-1] for name in names if name.endswith(".*"))
    return {
        name: value
        for name, value in attributes.items()
        if name in names or (beginnings and name.startswith(beginnings))
    }


def _note(ctx: Context, shard: ShardKey, answer: Answer) -> None:
    """Spans in the messages' own traces: how long they waited in the queue, and which were given up.

    Messages that one call sent and one call received are one span.
    """
    env = ctx.env
    wall_ms = env.machine.wall_ms()
    now = env.clock.now()
    for name, kind, messages in (("queue wait", "queue", answer.received), ("dead letter", "dead-letter", answer.dead)):
        together: dict[tuple[str, int], list[Message]] = {}
        for message in messages:
            together.setdefault((message.trace, message.sent_at), []).append(message)
        for (header, sent_at), same in together.items():
            waited_ms = max(0, now - sent_at)
            env.ports.spans.record(
                Span(
                    _hop(header, env.random, wall_ms // 1000),
                    name,
                    kind,
                    (wall_ms - waited_ms) * 1000,
                    wall_ms * 1000,
                    shard.account,
                    shard.region,
                    shard.name,
                    notes=[("message", message.message_id) for message in same],
                )
            )


def _hop(header: str, random: RandomSource, epoch_s: int) -> TraceContext:
    """The hop that a message's trace header starts; headers as Tule writes them are cut by place."""
    if len(header) == _OWN_HEADER and header[40:48] == ";Parent=" and header[64:73] == ";Sampled=":
        return TraceContext(header[5:40], random.token_hex(8), header[48:64], header[73] == "1")
    return trace_from_header(header, random, epoch_s)
