"""Where targets, policies, actions and activities lie in the store: the only file that knows keys."""

from typing import Final, TypeVar

import msgspec

from tule.services.application_autoscaling.models import Activity, ScalableTarget, ScalingPolicy, ScheduledAction
from tule.store.contract import Store
from tule.store.keys import pack, prefix_end
from tule.store.transaction import ReadTxn, ShardKey, Txn

SERVICE: Final = "application-autoscaling"
PLACES: Final = "place"
ACTIVITIES_MAX: Final = 1_000
"""Activities that are kept of an account and region (ours; AWS keeps six weeks of them)."""

PLACES_SHARD: Final = ShardKey(SERVICE, "", "", "places")
"""Lists every account and region that ever had a target, so that a start finds their work."""

S = TypeVar("S", bound=msgspec.Struct)
_encode = msgspec.msgpack.Encoder().encode
_target = msgspec.msgpack.Decoder(ScalableTarget)
_policy = msgspec.msgpack.Decoder(ScalingPolicy)
_action = msgspec.msgpack.Decoder(ScheduledAction)
_activity = msgspec.msgpack.Decoder(Activity)


def shard(account: str, region: str) -> ShardKey:
    """All of an account and region: few, and changed seldom."""
    return ShardKey(SERVICE, account, region, "targets")


def read_target(txn: ReadTxn, resource: str) -> ScalableTarget | None:
    raw = txn.get(pack("target", resource))
    return None if raw is None else _target.decode(raw)


def write_target(txn: Txn, target: ScalableTarget) -> None:
    txn.put(pack("target", target.resource), _encode(target))


def erase_target(txn: Txn, resource: str) -> None:
    """With its policies and actions, as on AWS."""
    txn.delete(pack("target", resource))
    for kind in ("policy", "action"):
        prefix = pack(kind, resource)
        txn.delete_range(prefix, prefix_end(prefix))


def all_targets(txn: ReadTxn) -> list[ScalableTarget]:
    return [_target.decode(value) for value in _values(txn, pack("target"))]


def _values(txn: ReadTxn, prefix: bytes) -> list[bytes]:
    return [value for _, value in txn.scan(prefix, prefix_end(prefix), 100_000)]


def read_policy(txn: ReadTxn, resource: str, name: str) -> ScalingPolicy | None:
    raw = txn.get(pack("policy", resource, name))
    return None if raw is None else _policy.decode(raw)


def write_policy(txn: Txn, policy: ScalingPolicy) -> None:
    txn.put(pack("policy", policy.resource, policy.name), _encode(policy))


def erase_policy(txn: Txn, resource: str, name: str) -> None:
    txn.delete(pack("policy", resource, name))


def all_policies(txn: ReadTxn) -> list[ScalingPolicy]:
    return [_policy.decode(value) for value in _values(txn, pack("policy"))]


def read_action(txn: ReadTxn, resource: str, name: str) -> ScheduledAction | None:
    raw = txn.get(pack("action", resource, name))
    return None if raw is None else _action.decode(raw)


def write_action(txn: Txn, action: ScheduledAction) -> None:
    txn.put(pack("action", action.resource, action.name), _encode(action))


def erase_action(txn: Txn, resource: str, name: str) -> None:
    txn.delete(pack("action", resource, name))


def all_actions(txn: ReadTxn) -> list[ScheduledAction]:
    return [_action.decode(value) for value in _values(txn, pack("action"))]


def add_activity(txn: Txn, activity: Activity) -> None:
    """Keep it, and forget the oldest where there are too many."""
    txn.put(pack("activity", txn.new_id()), _encode(activity))
    prefix = pack("activity")
    kept = txn.scan(prefix, prefix_end(prefix), ACTIVITIES_MAX + 1)
    for key, _ in kept[: len(kept) - ACTIVITIES_MAX]:
        txn.delete(key)


def newest_activities(txn: ReadTxn) -> list[Activity]:
    prefix = pack("activity")
    return [_activity.decode(value) for _, value in txn.scan(prefix, prefix_end(prefix), ACTIVITIES_MAX, reverse=True)]


def remember_place(txn: Txn, account: str, region: str) -> None:
    txn.enlist(PLACES, f"{account}/{region}", b"")


async def places(store: Store) -> list[tuple[str, str]]:
    """Every (account, region) that ever had a target."""
    entries = await store.directory(SERVICE, "", "", PLACES, limit=100_000)
    return [(account, region) for account, _, region in (entry.name.partition("/") for entry in entries)]
