"""Where functions, policies, queued events and mappings lie in the store: the only file that knows keys."""

from typing import TypeVar

import msgspec

from tule.kernel.context import RequestContext
from tule.services.lambda_.models import Event, Function, Mapping, Policy
from tule.store.contract import Store
from tule.store.keys import pack, prefix_end
from tule.store.transaction import ReadTxn, ShardKey, Txn

SERVICE = "lambda"
FUNCTIONS = "function"
MAPPINGS = "mapping"
PLACES = "place"

S = TypeVar("S", bound=msgspec.Struct)

_FUNCTION = pack("function", "$LATEST")
_POLICY = pack("policy")
_EVENTS = pack("event")
_MAPPINGS = pack("mapping")
_encode = msgspec.msgpack.Encoder().encode
_function = msgspec.msgpack.Decoder(Function)
_policy = msgspec.msgpack.Decoder(Policy)
_event = msgspec.msgpack.Decoder(Event)
_mapping = msgspec.msgpack.Decoder(Mapping)

PLACES_SHARD = ShardKey(SERVICE, "", "", "places")
"""Lists every account and region that ever had a function or mapping, so that a start finds their work."""


def function_shard(account: str, region: str, name: str) -> ShardKey:
    """A function, its policy and its queued events."""
    return ShardKey(SERVICE, account, region, "function", name)


def mappings_shard(account: str, region: str) -> ShardKey:
    """All event source mappings of an account and region: few, and unique by (source, function)."""
    return ShardKey(SERVICE, account, region, "mappings")


def read_function(txn: ReadTxn) -> Function | None:
    raw = txn.get(_FUNCTION)
    return None if raw is None else _function.decode(raw)


def write_function(txn: Txn, function: Function) -> None:
    raw = _encode(function)
    txn.put(_FUNCTION, raw)
    txn.enlist(FUNCTIONS, function.name, raw)


def erase_function(txn: Txn, name: str) -> None:
    txn.delete(_FUNCTION)
    txn.delete(_POLICY)
    txn.delist(FUNCTIONS, name)


def read_policy(txn: ReadTxn) -> Policy | None:
    raw = txn.get(_POLICY)
    return None if raw is None else _policy.decode(raw)


def write_policy(txn: Txn, policy: Policy) -> None:
    if policy.statements:
        txn.put(_POLICY, _encode(policy))
    else:
        txn.delete(_POLICY)


def event_key(event_id: int) -> bytes:
    return pack("event", event_id)


def read_event(txn: ReadTxn, event_id: int) -> Event | None:
    raw = txn.get(event_key(event_id))
    return None if raw is None else _event.decode(raw)


def write_event(txn: Txn, event_id: int, event: Event) -> None:
    txn.put(event_key(event_id), _encode(event))


def erase_event(txn: Txn, event_id: int) -> None:
    txn.delete(event_key(event_id))


def scan_events(txn: ReadTxn, after: int, limit: int) -> list[tuple[int, Event]]:
    """Queued events in the order of acceptance, with an id greater than `after`."""
    found = txn.scan(event_key(after + 1), prefix_end(_EVENTS), limit)
    return [(int.from_bytes(key[-8:], "big"), _event.decode(value)) for key, value in found]


def erase_events(txn: Txn) -> None:
    txn.delete_range(_EVENTS, prefix_end(_EVENTS))


def read_mapping(txn: ReadTxn, uuid: str) -> Mapping | None:
    raw = txn.get(pack("mapping", uuid))
    return None if raw is None else _mapping.decode(raw)


def write_mapping(txn: Txn, mapping: Mapping) -> None:
    raw = _encode(mapping)
    txn.put(pack("mapping", mapping.uuid), raw)
    txn.enlist(MAPPINGS, mapping.uuid, raw)


def erase_mapping(txn: Txn, uuid: str) -> None:
    txn.delete(pack("mapping", uuid))
    txn.delist(MAPPINGS, uuid)


def all_mappings(txn: ReadTxn, limit: int = 10_000) -> list[Mapping]:
    """Mappings of the shard by UUID."""
    return [_mapping.decode(value) for _, value in txn.scan(_MAPPINGS, prefix_end(_MAPPINGS), limit)]


async def list_functions(store: Store, context: RequestContext, after: str = "", limit: int = 10_000) -> list[Function]:
    """Committed functions of the context's account and region, by name."""
    entries = await store.directory(SERVICE, context.account, context.region, FUNCTIONS, after=after, limit=limit)
    return [_function.decode(entry.value) for entry in entries]


async def places(store: Store) -> list[tuple[str, str]]:
    """Every (account, region) with functions or mappings."""
    entries = await store.directory(SERVICE, "", "", PLACES, limit=100_000)
    return [(account, region) for account, _, region in (entry.name.partition("/") for entry in entries)]


def remember_place(txn: Txn, account: str, region: str) -> None:
    txn.enlist(PLACES, f"{account}/{region}", b"")
