"""Log groups: making, listing, retaining, tagging."""

import re
from typing import Any, Final

import msgspec

from tule.kernel.errors import OperationNotImplementedError
from tule.services.declaration import Context
from tule.services.logs import state
from tule.services.logs.errors import InvalidParameterError, ResourceAlreadyExistsError, TooManyTagsError
from tule.services.logs.models import DAY_MS, MAX_TAGS, RETENTION_DAYS, LogGroup
from tule.store.transaction import ReadTxn, Txn

_NAME: Final = re.compile(r"[\.\-_/#A-Za-z0-9]{1,512}")
RETENTION: Final = "retention"
"""The timer that erases what has outlived its group's retention."""
EXPIRE_PER_RUN: Final = 500
"""Chunks erased in one transaction; what is left is due again at once."""
DEFAULT_PAGE: Final = 50
"""Groups of one DescribeLogGroups (API reference)."""


def create_log_group(txn: Txn, request: dict[str, Any]) -> dict[str, Any]:
    name = request["logGroupName"]
    if len(name) > 512:
        raise InvalidParameterError("Invalid LogGroup or LogStream, both must have length less than or equal to 512.")
    if not _NAME.fullmatch(name):
        raise InvalidParameterError(
            f"1 validation error detected: Value '{name}' at 'logGroupName' failed to satisfy constraint: "
            "Member must satisfy regular expression pattern: [\\.\\-_/#A-Za-z0-9]+",
        )
    if request.get("kmsKeyId"):
        raise OperationNotImplementedError("logs", "CreateLogGroup", "kmsKeyId is not honoured; leave it out.")
    if state.find_group(txn) is not None:
        raise ResourceAlreadyExistsError("The specified log group already exists")
    make_group(txn, name, request.get("tags") or {}, request.get("logGroupClass") or "STANDARD")
    return {}


def make_group(txn: Txn, name: str, tags: dict[str, str] | None = None, group_class: str = "STANDARD") -> LogGroup:
    """A new group in the transaction's account and region."""
    arn = txn.context.arn("logs", f"log-group:{name}")
    made = LogGroup(name, arn, txn.now, tags=tags or {}, group_class=group_class)
    state.save_group(txn, made)
    return made


def delete_log_group(txn: Txn, _request: dict[str, Any]) -> dict[str, Any]:
    state.drop_group(txn, state.group(txn).name)
    txn.cancel_due(RETENTION, b"")
    return {}


def put_retention_policy(txn: Txn, request: dict[str, Any]) -> dict[str, Any]:
    days = request["retentionInDays"]
    if days not in RETENTION_DAYS:
        choices = ", ".join(str(one) for one in sorted(RETENTION_DAYS))
        raise InvalidParameterError(
            f"1 validation error detected: Value '{days}' at 'retentionInDays' failed to satisfy constraint: "
            f"Member must satisfy enum value set: [{choices}]",
        )
    state.save_group(txn, msgspec.structs.replace(state.group(txn), retention_days=days))
    arm_retention(txn, days)
    return {}


def delete_retention_policy(txn: Txn, _request: dict[str, Any]) -> dict[str, Any]:
    state.save_group(txn, msgspec.structs.replace(state.group(txn), retention_days=None))
    txn.cancel_due(RETENTION, b"")
    return {}


def arm_retention(txn: Txn, days: int) -> None:
    """Be called when the oldest chunk has outlived the retention."""
    oldest = state.oldest(txn)
    if oldest is not None:
        txn.due(type(txn.now)(oldest.last_ms + days * DAY_MS + 1), RETENTION, b"")


def on_retention(txn: Txn, _key: bytes, _payload: bytes) -> None:
    """Erase what is too old, then wait for the next."""
    group = state.find_group(txn)
    if group is None or group.retention_days is None:
        return
    state.expire(txn, txn.now - group.retention_days * DAY_MS, EXPIRE_PER_RUN)
    arm_retention(txn, group.retention_days)


async def describe_log_groups(ctx: Context, request: dict[str, Any]) -> dict[str, Any]:
    prefix, pattern = request.get("logGroupNamePrefix") or "", request.get("logGroupNamePattern") or ""
    if prefix and pattern:
        raise InvalidParameterError(
            "LogGroup name prefix and LogGroup name pattern are mutually exclusive parameters.",
        )
    for member in ("accountIdentifiers", "includeLinkedAccounts", "logGroupIdentifiers"):
        if request.get(member):
            raise OperationNotImplementedError("logs", "DescribeLogGroups", f"{member} is not honoured; leave it out.")
    limit, after = request.get("limit") or DEFAULT_PAGE, request.get("nextToken") or ""
    call = ctx.request
    found: list[LogGroup] = []
    while len(found) <= limit:
        entries = await ctx.store.directory(
            "logs", call.account, call.region, state.GROUP_KIND, prefix=prefix, after=after, limit=limit + 1
        )
        for entry in entries:
            after = entry.name
            if pattern.lower() in entry.name.lower():
                found.append(state.decode_group(entry.value))
        if len(entries) <= limit:
            break
    views = []
    for group in found[:limit]:
        shard = state.shard(call.account, call.region, group.name)
        stored = await ctx.store.read(shard, lambda txn: txn.counter(state.BYTES), call)
        views.append(_view(group, stored))
    result: dict[str, Any] = {"logGroups": views}
    if len(found) > limit:
        result["nextToken"] = found[limit - 1].name
    return result


def _view(group: LogGroup, stored_bytes: int) -> dict[str, Any]:
    view: dict[str, Any] = {
        "logGroupName": group.name,
        "creationTime": group.created_ms,
        "metricFilterCount": 0,
        "arn": f"{group.arn}:*",
        "storedBytes": max(stored_bytes, 0),
        "logGroupClass": group.group_class,
        "logGroupArn": group.arn,
    }
    if group.retention_days is not None:
        view["retentionInDays"] = group.retention_days
    return view


def tag(txn: Txn, request: dict[str, Any]) -> dict[str, Any]:
    """TagResource and TagLogGroup."""
    group = state.group(txn)
    tags = {**group.tags, **request["tags"]}
    if len(tags) > MAX_TAGS:
        raise TooManyTagsError("The number of tags exceeds the maximum allowed.")
    state.save_group(txn, msgspec.structs.replace(group, tags=tags))
    return {}


def untag(txn: Txn, request: dict[str, Any]) -> dict[str, Any]:
    """UntagResource and UntagLogGroup."""
    group = state.group(txn)
    gone = set(request.get("tagKeys") or request.get("tags") or ())
    tags = {key: value for key, value in group.tags.items() if key not in gone}
    state.save_group(txn, msgspec.structs.replace(group, tags=tags))
    return {}


def list_tags(txn: ReadTxn, _request: dict[str, Any]) -> dict[str, Any]:
    """ListTagsForResource and ListTagsLogGroup."""
    return {"tags": state.group(txn).tags}
