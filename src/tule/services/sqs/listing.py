"""ListQueues and ListDeadLetterSourceQueues."""

import binascii
from base64 import urlsafe_b64decode, urlsafe_b64encode
from typing import Any

from tule.kernel.errors import AwsError
from tule.services.declaration import Context
from tule.services.sqs import limits
from tule.services.sqs.errors import invalid_value
from tule.services.sqs.names import SERVICE_NAME, SHARD_KIND, arn_of, shard_of_queue, shard_of_url, url_of
from tule.services.sqs.queue import read_existing


def _page_size(request: dict[str, Any]) -> int:
    size = request.get("MaxResults")
    if size is None:
        return limits.MAX_PAGE
    if not 1 <= size <= limits.MAX_PAGE:
        raise invalid_value(size, "MaxResults", "Must be an integer value between 1 and 1000.")
    return int(size)


def _token(name: str) -> str:
    return urlsafe_b64encode(name.encode()).decode()


def _after(request: dict[str, Any]) -> str:
    token = request.get("NextToken") or ""
    try:
        return urlsafe_b64decode(token).decode()
    except (binascii.Error, ValueError):
        raise AwsError(f"Value {token} for parameter NextToken is invalid.", code="InvalidParameterValue") from None


async def list_queues(ctx: Context, request: dict[str, Any]) -> dict[str, Any]:
    """Queue URLs in the order of names. Without MaxResults there is no next page, as on AWS."""
    size = _page_size(request)
    context = ctx.request
    entries = await ctx.store.directory(
        SERVICE_NAME,
        context.account,
        context.region,
        SHARD_KIND,
        prefix=request.get("QueueNamePrefix") or "",
        after=_after(request),
        limit=size + 1,
    )
    urls = [url_of(context, shard_of_queue(context.account, context.region, entry.name)) for entry in entries[:size]]
    answer: dict[str, Any] = {"QueueUrls": urls} if urls else {}
    if len(entries) > size and request.get("MaxResults") is not None:
        answer["NextToken"] = _token(entries[size - 1].name)
    return answer


async def list_dead_letter_source_queues(ctx: Context, request: dict[str, Any]) -> dict[str, Any]:
    """Queues whose redrive policy names this one."""
    size = _page_size(request)
    context = ctx.request
    target = shard_of_url(context, request)
    await ctx.store.read(target, read_existing, context)
    wanted = arn_of(target, context.partition).encode()
    after = _after(request)
    names: list[str] = []
    while len(names) <= size:
        page = await ctx.store.directory(
            SERVICE_NAME, target.account, target.region, SHARD_KIND, after=after, limit=limits.MAX_PAGE
        )
        names += [entry.name for entry in page if entry.value == wanted]
        if len(page) < limits.MAX_PAGE:
            break
        after = page[-1].name
    urls = [url_of(context, shard_of_queue(target.account, target.region, name)) for name in names[:size]]
    answer: dict[str, Any] = {"queueUrls": urls}
    if len(names) > size and request.get("MaxResults") is not None:
        answer["NextToken"] = _token(names[size - 1])
    return answer
