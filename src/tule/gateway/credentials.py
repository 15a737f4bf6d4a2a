"""Access keys that Tule minted, in memory because every request asks for one; and the root pair."""

import base64
from typing import Final

import msgspec

from tule.kernel.context import RequestContext, root_principal
from tule.kernel.ports import AccessKey
from tule.kernel.randomness import RandomSource
from tule.store.contract import Store
from tule.store.transaction import ShardKey, Txn

_ROOT_KEY: Final = b"root-access-key"


class KeyRing:
    """`Credentials` in a dictionary. Services that mint keys keep them in their shards and bring them back at start."""

    __slots__ = ("_keys",)

    def __init__(self) -> None:
        self._keys: dict[str, AccessKey] = {}

    def find(self, access_key_id: str) -> AccessKey | None:
        return self._keys.get(access_key_id)

    def remember(self, key: AccessKey) -> None:
        self._keys[key.access_key_id] = key

    def forget(self, access_key_id: str) -> None:
        self._keys.pop(access_key_id, None)


def mint_access_key_id(random: RandomSource) -> str:
    """A long-term key id in AWS's form: AKIA and sixteen characters of base 32."""
    return "AKIA" + base64.b32encode(random.token(10)).decode()


def mint_secret(random: RandomSource) -> str:
    """A secret in AWS's form: forty characters of base 64."""
    return base64.b64encode(random.token(30)).decode()


class _RootPair(msgspec.Struct, frozen=True):
    access_key_id: str
    secret: str


async def root_pair(store: Store, context: RequestContext, random: RandomSource) -> AccessKey:
    """The account's root pair, minted and stored when there is none yet."""
    shard = ShardKey("tule", context.account, context.region, "root")

    def find_or_mint(txn: Txn) -> bytes:
        kept = txn.get(_ROOT_KEY)
        if kept is None:
            kept = msgspec.msgpack.encode(_RootPair(mint_access_key_id(random), mint_secret(random)))
            txn.put(_ROOT_KEY, kept)
        return kept

    pair = msgspec.msgpack.decode(await store.transact(shard, find_or_mint, context), type=_RootPair)
    principal = root_principal(context.account, pair.access_key_id, known=True)
    return AccessKey(pair.access_key_id, pair.secret, context.account, principal)
