"""Where an API's parts lie in the store: the only file that knows keys."""

from typing import Any, TypeVar

import msgspec

from tule.kernel.context import RequestContext
from tule.services.apigatewayv2.models import Api, Deployment, Integration, Route, Stage
from tule.store.contract import Store
from tule.store.keys import pack, prefix_end
from tule.store.transaction import ReadTxn, ShardKey, Txn

SERVICE = "apigatewayv2"
APIS = "api"

Part = Route | Integration | Stage | Deployment
P = TypeVar("P", Route, Integration, Stage, Deployment)

_encode = msgspec.msgpack.Encoder().encode
_api = msgspec.msgpack.Decoder(Api)
_API = pack("api")
_PARTS: dict[type[Any], tuple[str, msgspec.msgpack.Decoder[Any]]] = {
    Route: ("route", msgspec.msgpack.Decoder(Route)),
    Integration: ("integration", msgspec.msgpack.Decoder(Integration)),
    Stage: ("stage", msgspec.msgpack.Decoder(Stage)),
    Deployment: ("deployment", msgspec.msgpack.Decoder(Deployment)),
}


def api_shard(api_id: str) -> ShardKey:
    """An API with all its parts. Ids are unique over accounts and regions, since a host name carries nothing else."""
    return ShardKey(SERVICE, "", "", "api", api_id)


def read_api(txn: ReadTxn) -> Api | None:
    raw = txn.get(_API)
    return None if raw is None else _api.decode(raw)


def write_api(txn: Txn, api: Api) -> None:
    raw = _encode(api)
    txn.put(_API, raw)
    txn.enlist(APIS, f"{api.account}/{api.region}/{api.id}", raw)


def erase_api(txn: Txn, api: Api) -> None:
    """The API and everything in it."""
    txn.delete_range(b"", prefix_end(b""))
    txn.delist(APIS, f"{api.account}/{api.region}/{api.id}")


async def list_apis(store: Store, context: RequestContext, after: str, limit: int) -> list[Api]:
    """APIs of the context's account and region by id."""
    prefix = f"{context.account}/{context.region}/"
    entries = await store.directory(SERVICE, "", "", APIS, prefix=prefix, after=prefix + after, limit=limit)
    return [_api.decode(entry.value) for entry in entries]


def _key(part: Part) -> str:
    return part.name if isinstance(part, Stage) else part.id


def read(txn: ReadTxn, kind: type[P], name: str) -> P | None:
    label, decoder = _PARTS[kind]
    raw = txn.get(pack(label, name))
    return None if raw is None else decoder.decode(raw)


def read_all(txn: ReadTxn, kind: type[P], limit: int = 10_000) -> list[P]:
    """Parts of a kind, by id."""
    label, decoder = _PARTS[kind]
    prefix = pack(label)
    return [decoder.decode(raw) for _, raw in txn.scan(prefix, prefix_end(prefix), limit)]


def write(txn: Txn, part: Part) -> None:
    txn.put(pack(_PARTS[type(part)][0], _key(part)), _encode(part))


def erase(txn: Txn, part: Part) -> None:
    txn.delete(pack(_PARTS[type(part)][0], _key(part)))
