"""Where functions, policies, queued events and mappings lie in the store: the only file that knows keys."""

from typing import TypeVar

import msgspec
from msgspec.structs import replace

from tule.kernel.context import RequestContext
from tule.services.lambda_ import invoking_state
from tule.services.lambda_.limits import VERSION_DIGITS
from tule.services.lambda_.models import LATEST, Alias, Function, Mapping, Policy, Provisioned
from tule.services.lambda_.queued_event import Event
from tule.store.contract import Store
from tule.store.keys import pack, prefix_end
from tule.store.transaction import ReadTxn, ShardKey, Txn

SERVICE = "lambda"
FUNCTIONS = "function"
VERSIONS = "version"
PROVISIONED = "provisioned"
MAPPINGS = "mapping"
PLACES = "place"

S = TypeVar("S", bound=msgspec.Struct)

_FUNCTION = pack("function", LATEST)
_VERSIONS = pack("version")
_PUBLISHED = pack("published")
_ALIASES = pack("alias")
_POLICIES = pack("policy")
_PROVISIONED = pack("provisioned")
_EVENTS = pack("event")
_MAPPINGS = pack("mapping")
_encode = msgspec.msgpack.Encoder().encode
_function = msgspec.msgpack.Decoder(Function)
_alias = msgspec.msgpack.Decoder(Alias)
_provisioned = msgspec.msgpack.Decoder(Provisioned)
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
    """$LATEST."""
    raw = txn.get(_FUNCTION)
    return None if raw is None else _function.decode(raw)


def write_function(txn: Txn, function: Function) -> None:
    """$LATEST, or a published version's new status."""
    raw = _encode(function)
    if function.version == LATEST:
        txn.put(_FUNCTION, raw)
        txn.enlist(FUNCTIONS, function.name, raw)
    else:
        txn.put(pack("version", int(function.version)), raw)
        txn.enlist(VERSIONS, version_entry(function.name, function.version), raw)


def erase_function(txn: Txn, name: str) -> None:
    """The function with all its versions and aliases. What stays is the last version's number: AWS uses none again."""
    for version in all_versions(txn):
        erase_version(txn, name, version.version)
    for qualifier in all_provisioned(txn):
        erase_provisioned(txn, name, qualifier)
    for prefix in (_ALIASES, _POLICIES):
        txn.delete_range(prefix, prefix_end(prefix))
    invoking_state.erase_all(txn)
    txn.delete(_FUNCTION)
    txn.delist(FUNCTIONS, name)


def version_entry(name: str, version: str) -> str:
    """A version's name in the directory: by function, then by number. A space sorts before all that names may have."""
    return f"{name} {int(version):012d}"


def read_version(txn: ReadTxn, version: str) -> Function | None:
    """A version as it was published, with what belongs to the function as a whole."""
    latest = read_function(txn)
    if latest is None or version == LATEST:
        return latest
    if not version.isascii() or len(version) > VERSION_DIGITS or str(int(version)) != version:
        return None  # no number that a version has, as 01
    raw = txn.get(pack("version", int(version)))
    return None if raw is None else _of(latest, _function.decode(raw))


def _of(latest: Function, version: Function) -> Function:
    return replace(version, tags=latest.tags, reserved_concurrency=latest.reserved_concurrency)


def all_versions(txn: ReadTxn, after: int = 0, limit: int = 100_000) -> list[Function]:
    """Published versions by number."""
    latest = read_function(txn)
    if latest is None:
        return []
    found = txn.scan(pack("version", after + 1), prefix_end(_VERSIONS), limit)
    return [_of(latest, _function.decode(value)) for _, value in found]


def last_published(txn: ReadTxn) -> int:
    """The number of the version that was published last, also if it is gone; 0 before the first."""
    raw = txn.get(_PUBLISHED)
    return 0 if raw is None else int(raw)


def publish(txn: Txn, version: Function) -> None:
    """Keep a new version."""
    txn.put(_PUBLISHED, version.version.encode())
    write_function(txn, version)


def erase_version(txn: Txn, name: str, version: str) -> None:
    txn.delete(pack("version", int(version)))
    txn.delete(_policy_key(version))
    invoking_state.erase_config(txn, version)
    txn.delist(VERSIONS, version_entry(name, version))


def read_alias(txn: ReadTxn, name: str) -> Alias | None:
    raw = txn.get(pack("alias", name))
    return None if raw is None else _alias.decode(raw)


def write_alias(txn: Txn, alias: Alias) -> None:
    txn.put(pack("alias", alias.name), _encode(alias))


def erase_alias(txn: Txn, name: str) -> None:
    txn.delete(pack("alias", name))
    txn.delete(_policy_key(name))
    invoking_state.erase_config(txn, name)
    invoking_state.erase_url(txn, name)


def all_aliases(txn: ReadTxn, after: str = "", limit: int = 100_000) -> list[Alias]:
    """Aliases by name."""
    start = pack("alias", after) + b"\0" if after else _ALIASES
    return [_alias.decode(value) for _, value in txn.scan(start, prefix_end(_ALIASES), limit)]


def read_provisioned(txn: ReadTxn, qualifier: str) -> Provisioned | None:
    raw = txn.get(pack("provisioned", qualifier))
    return None if raw is None else _provisioned.decode(raw)


def write_provisioned(txn: Txn, function_name: str, config: Provisioned) -> None:
    txn.put(pack("provisioned", config.qualifier), _encode(config))
    txn.enlist(PROVISIONED, f"{function_name} {config.qualifier}", _encode(config))


def erase_provisioned(txn: Txn, function_name: str, qualifier: str) -> None:
    txn.delete(pack("provisioned", qualifier))
    txn.delist(PROVISIONED, f"{function_name} {qualifier}")


def all_provisioned(txn: ReadTxn) -> dict[str, Provisioned]:
    """By qualifier."""
    configs = [_provisioned.decode(value) for _, value in txn.scan(_PROVISIONED, prefix_end(_PROVISIONED), 100_000)]
    return {config.qualifier: config for config in configs}


def total_provisioned(txn: ReadTxn) -> int:
    """Instances to keep for the whole function."""
    return sum(config.requested for config in all_provisioned(txn).values())


def provisioned_for(txn: ReadTxn, version: str) -> int:
    """Instances of a version to keep initialised: its own and those of aliases that lead to it."""
    return sum(
        config.share(None if config.qualifier.isdigit() else read_alias(txn, config.qualifier), version)
        for config in all_provisioned(txn).values()
        if config.qualifier.isdigit() or read_alias(txn, config.qualifier) is not None
    )


def _policy_key(qualifier: str) -> bytes:
    return pack("policy", qualifier) if qualifier else pack("policy")


def read_policy(txn: ReadTxn, qualifier: str = "") -> Policy | None:
    """The policy of the function, or of one of its versions or aliases."""
    raw = txn.get(_policy_key(qualifier))
    return None if raw is None else _policy.decode(raw)


def write_policy(txn: Txn, policy: Policy, qualifier: str = "") -> None:
    if policy.statements:
        txn.put(_policy_key(qualifier), _encode(policy))
    else:
        txn.delete(_policy_key(qualifier))


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


async def list_versions(store: Store, context: RequestContext, after: str = "", limit: int = 10_000) -> list[Function]:
    """Committed published versions of the context's account and region, by function and number."""
    entries = await store.directory(SERVICE, context.account, context.region, VERSIONS, after=after, limit=limit)
    return [_function.decode(entry.value) for entry in entries]


async def list_provisioned(store: Store, context: RequestContext) -> list[tuple[str, Provisioned]]:
    """Committed provisioned concurrency of the context's account and region: (function name, configuration)."""
    entries = await store.directory(SERVICE, context.account, context.region, PROVISIONED, limit=100_000)
    return [(entry.name.partition(" ")[0], _provisioned.decode(entry.value)) for entry in entries]


async def places(store: Store) -> list[tuple[str, str]]:
    """Every (account, region) with functions or mappings."""
    entries = await store.directory(SERVICE, "", "", PLACES, limit=100_000)
    return [(account, region) for account, _, region in (entry.name.partition("/") for entry in entries)]


def remember_place(txn: Txn, account: str, region: str) -> None:
    txn.enlist(PLACES, f"{account}/{region}", b"")
