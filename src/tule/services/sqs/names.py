"""Names, URLs and ARNs of queues, and the shards they stand for."""

import re
from typing import Any, Final

from tule.kernel.arns import Arn
from tule.kernel.context import RequestContext
from tule.kernel.errors import AwsError
from tule.services.sqs.errors import invalid_parameter, missing_parameter, no_such_queue
from tule.store.transaction import ShardKey

SERVICE_NAME: Final = "sqs"
SHARD_KIND: Final = "queue"
FIFO_SUFFIX: Final = ".fifo"

_STANDARD_NAME: Final = re.compile(r"[A-Za-z0-9_-]{1,80}\Z")
_FIFO_NAME: Final = re.compile(r"[A-Za-z0-9_-]{1,75}\.fifo\Z")
_ACCOUNT: Final = re.compile(r"\d{12}\Z")


def shard_of_queue(account: str, region: str, name: str) -> ShardKey:
    return ShardKey(SERVICE_NAME, account, region, SHARD_KIND, name)


def shard_of_url(context: RequestContext, request: dict[str, Any]) -> ShardKey:
    """The queue that QueueUrl means: any host, then /account/name (or /queue/region/account/name), or a bare name."""
    url = request["QueueUrl"]
    parts = url.rsplit("/", 2)
    if len(parts) == 3 and len(parts[1]) == 12 and parts[1].isdecimal() and parts[2]:
        region = context.region
        if "/queue/" in parts[0]:
            region = parts[0].rsplit("/queue/", 1)[1].partition("/")[0] or region
        return ShardKey(SERVICE_NAME, parts[1], region, SHARD_KIND, parts[2])
    if not url:
        raise missing_parameter("QueueUrl")
    if "/" not in url:
        return shard_of_queue(context.account, context.region, url)
    if parts[-1] == "" or "://" not in url:
        raise AwsError(f"The address {url} is not valid for this endpoint.", code="InvalidAddress")
    raise no_such_queue()


def shard_of_name(context: RequestContext, request: dict[str, Any]) -> ShardKey:
    """The queue that QueueName means, in the caller's account or the given owner's."""
    account = request.get("QueueOwnerAWSAccountId") or context.account
    if not _ACCOUNT.match(account):
        raise no_such_queue()
    return shard_of_queue(account, context.region, request["QueueName"])


def shard_of_arn(text: str) -> ShardKey | None:
    """The queue of an ARN, or None if it is none."""
    arn = Arn.parse(text)
    if arn is None or arn.service != SERVICE_NAME or not _ACCOUNT.match(arn.account) or not arn.resource:
        return None
    return shard_of_queue(arn.account, arn.region, arn.resource)


def arn_of(shard: ShardKey, partition: str) -> str:
    return f"arn:{partition}:sqs:{shard.region}:{shard.account}:{shard.name}"


def url_of(context: RequestContext, shard: ShardKey) -> str:
    return f"{context.base_url}/{shard.account}/{shard.name}"


def check_name(name: str, *, fifo: bool) -> None:
    """Refuse a name that a new queue may not have."""
    if fifo:
        if not _FIFO_NAME.match(name):
            raise invalid_parameter(
                "The name of a FIFO queue can only include alphanumeric characters, hyphens, or underscores, "
                "must end with .fifo suffix and be 1 to 80 in length."
            )
    elif not _STANDARD_NAME.match(name):
        raise invalid_parameter("Can only include alphanumeric characters, hyphens, or underscores. 1 to 80 in length")
