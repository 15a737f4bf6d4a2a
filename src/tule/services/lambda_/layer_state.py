"""Where layers lie in the store."""

import msgspec

from tule.kernel.context import RequestContext
from tule.services.lambda_.models import Layer, Policy
from tule.services.lambda_.state import SERVICE
from tule.store.contract import Store
from tule.store.keys import pack, prefix_end
from tule.store.transaction import ReadTxn, ShardKey, Txn

LAYERS = "layer"

_LAST = pack("last")
_VERSIONS = pack("version")
_encode = msgspec.msgpack.Encoder().encode
_layer = msgspec.msgpack.Decoder(Layer)
_policy = msgspec.msgpack.Decoder(Policy)


def layer_shard(account: str, region: str, name: str) -> ShardKey:
    """All versions of a layer, and their policies."""
    return ShardKey(SERVICE, account, region, "layer", name)


def _entry(name: str, version: int) -> str:
    """A version's name in the directory. A space sorts before all that names may have."""
    return f"{name} {version:012d}"


def last_layer_version(txn: ReadTxn) -> int:
    """The number that was given last, also if that version is gone; 0 before the first."""
    raw = txn.get(_LAST)
    return 0 if raw is None else int(raw)


def write_layer(txn: Txn, layer: Layer) -> None:
    """Keep a new version."""
    raw = _encode(layer)
    txn.put(_LAST, str(layer.version).encode())
    txn.put(pack("version", layer.version), raw)
    txn.enlist(LAYERS, _entry(layer.name, layer.version), raw)


def read_layer(txn: ReadTxn, version: int) -> Layer | None:
    raw = txn.get(pack("version", version))
    return None if raw is None else _layer.decode(raw)


def erase_layer(txn: Txn, name: str, version: int) -> None:
    txn.delete(pack("version", version))
    txn.delete(pack("policy", version))
    txn.delist(LAYERS, _entry(name, version))


def newest_layers(txn: ReadTxn, limit: int = 100_000) -> list[Layer]:
    """Versions of the shard's layer, the newest first."""
    found = txn.scan(_VERSIONS, prefix_end(_VERSIONS), limit, reverse=True)
    return [_layer.decode(value) for _, value in found]


def read_layer_policy(txn: ReadTxn, version: int) -> Policy | None:
    raw = txn.get(pack("policy", version))
    return None if raw is None else _policy.decode(raw)


def write_layer_policy(txn: Txn, version: int, policy: Policy) -> None:
    if policy.statements:
        txn.put(pack("policy", version), _encode(policy))
    else:
        txn.delete(pack("policy", version))


async def list_layers(store: Store, context: RequestContext) -> list[Layer]:
    """Committed versions of all layers of the context's account and region, by name and number."""
    entries = await store.directory(SERVICE, context.account, context.region, LAYERS, limit=100_000)
    return [_layer.decode(entry.value) for entry in entries]
