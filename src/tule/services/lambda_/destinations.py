"""Who may be told how an asynchronous invocation ended, and how each of them is told."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from tule.kernel.errors import AwsError
from tule.services.declaration import Aws
from tule.services.lambda_.queued_event import Conclusion, Event, Target
from tule.services.lambda_.records import dead_letter_attributes, invocation_record


@dataclass(frozen=True, slots=True)
class Telling:
    """One event's end on its way to one target."""

    aws: Aws
    function_arn: str
    function_name: str
    event: Event
    conclusion: Conclusion
    new_id: str

    def record(self) -> bytes:
        return invocation_record(self.function_arn, self.event, self.conclusion)


async def tell(target: Target, telling: Telling) -> None:
    """Deliver to a target. Raises `AwsError` if it doesn't take it."""
    service = target.arn.split(":")[2]
    if target.dead_letter:
        await _dead_letter(target.arn, telling)
    else:
        await TELLERS[service](target.arn, telling)


async def _dead_letter(arn: str, telling: Telling) -> None:
    """The payload as it was, with Lambda's attributes."""
    body = telling.event.payload.decode("utf-8", "replace")
    attributes = dead_letter_attributes(telling.event, telling.conclusion)
    aws = telling.aws
    await aws.sqs.send_message(QueueUrl=await _queue_url(aws, arn), MessageBody=body, MessageAttributes=attributes)


async def _to_queue(arn: str, telling: Telling) -> None:
    aws = telling.aws
    await aws.sqs.send_message(QueueUrl=await _queue_url(aws, arn), MessageBody=telling.record().decode())


async def _queue_url(aws: Aws, arn: str) -> str:
    url: str = (await aws.sqs.get_queue_url(QueueName=arn.rpartition(":")[2]))["QueueUrl"]
    return url


async def _to_function(arn: str, telling: Telling) -> None:
    await telling.aws.lambda_.invoke(FunctionName=arn, InvocationType="Event", Payload=telling.record())


async def _to_bucket(arn: str, telling: Telling) -> None:
    moment = datetime.fromtimestamp(telling.conclusion.at_ms / 1000, UTC)
    key = f"aws/lambda/async/{telling.function_name}/{moment:%Y/%m/%d}/{moment:%Y-%m-%dT%H.%M.%S}-{telling.new_id}"
    await telling.aws.s3.put_object(Bucket=arn.rpartition(":")[2], Key=key, Body=telling.record())


TELLERS: Final[dict[str, Callable[[str, Telling], Awaitable[None]]]] = {
    "sqs": _to_queue,
    "lambda": _to_function,
    "s3": _to_bucket,
}
"""By the service of the destination's ARN: those that Tule has."""

AWAITED: Final = frozenset({"sns", "events"})
"""Services that AWS takes as destinations and Tule doesn't have yet."""

ON_FAILURE_ALONE: Final = frozenset({"s3"})


def is_passing(error: AwsError) -> bool:
    """Whether a target that refused may take it later."""
    busy = error.error_code in ("TooManyRequestsException", "ThrottlingException", "SlowDown", "RequestThrottled")
    return busy or (error.error_status >= 500 and error.error_code != "NotImplemented")
