"""Where IAM keeps what: one shard for all accounts, because keys must be found by their id alone."""

import base64
from typing import Any, Final

import msgspec

from tule.kernel.context import RequestContext
from tule.services.iam.errors import NoSuchEntityError, no_such
from tule.services.iam.models import Identity, Kind, Policy, StoredKey
from tule.store.keys import pack, prefix_end
from tule.store.transaction import ReadTxn, ShardKey, Txn

SHARD: Final = ShardKey("iam", "", "", "accounts")

_identity = msgspec.msgpack.Decoder(Identity)
_policy = msgspec.msgpack.Decoder(Policy)
_key = msgspec.msgpack.Decoder(StoredKey)
_encode = msgspec.msgpack.Encoder().encode

SCAN_PAGE: Final = 1_000


def shard_of(_context: RequestContext, _request: Any) -> ShardKey:
    """Every operation of IAM runs on its one shard."""
    return SHARD


def mint_id(txn: Txn, prefix: str) -> str:
    """A unique id in IAM's form: a four-letter prefix that tells its kind, and base 32 characters."""
    return prefix + base64.b32encode(txn.random(10)).decode() + "A"


def find_identity(txn: ReadTxn, kind: Kind, name: str) -> Identity | None:
    # Names of identities are unique regardless of case, and keep the case they were created with.
    value = txn.get(pack(txn.context.account, kind, name.lower()))
    return None if value is None else _identity.decode(value)


def identity(txn: ReadTxn, kind: Kind, name: str) -> Identity:
    """The user or role; NoSuchEntity if there is none."""
    found = find_identity(txn, kind, name)
    if found is None:
        raise no_such(kind, name)
    return found


def save_identity(txn: Txn, changed: Identity) -> None:
    txn.put(pack(txn.context.account, changed.kind, changed.name.lower()), _encode(changed))


def drop_identity(txn: Txn, gone: Identity) -> None:
    txn.delete(pack(txn.context.account, gone.kind, gone.name.lower()))


def identities(txn: ReadTxn, kind: Kind, path_prefix: str = "/") -> list[Identity]:
    """All of the account's users or roles under a path, by name."""
    found = (_identity.decode(value) for value in _all(txn, pack(txn.context.account, kind)))
    return [one for one in found if one.path.startswith(path_prefix)]


def policy(txn: ReadTxn, arn: str) -> Policy:
    """The customer-managed policy; NoSuchEntity if there is none."""
    value = txn.get(pack(txn.context.account, "policy", arn))
    if value is None:
        raise NoSuchEntityError(f"Policy {arn} was not found.")
    return _policy.decode(value)


def has_policy(txn: ReadTxn, arn: str) -> bool:
    return txn.get(pack(txn.context.account, "policy", arn)) is not None


def save_policy(txn: Txn, changed: Policy) -> None:
    txn.put(pack(txn.context.account, "policy", changed.arn), _encode(changed))


def drop_policy(txn: Txn, arn: str) -> None:
    txn.delete(pack(txn.context.account, "policy", arn))


def policies(txn: ReadTxn, path_prefix: str = "/") -> list[Policy]:
    found = (_policy.decode(value) for value in _all(txn, pack(txn.context.account, "policy")))
    return [one for one in found if one.path.startswith(path_prefix)]


def save_key(txn: Txn, key: StoredKey) -> None:
    txn.put(pack("key", key.id), _encode(key))


def find_key(txn: ReadTxn, key_id: str) -> StoredKey | None:
    value = txn.get(pack("key", key_id))
    return None if value is None else _key.decode(value)


def drop_key(txn: Txn, key_id: str) -> None:
    txn.delete(pack("key", key_id))


def keys(txn: ReadTxn, account: str | None = None, user: str | None = None) -> list[StoredKey]:
    """Access keys of every account, or of one user."""
    found = (_key.decode(value) for value in _all(txn, pack("key")))
    return [one for one in found if account in (None, one.account) and user in (None, one.user)]


def _all(txn: ReadTxn, prefix: bytes) -> list[bytes]:
    end, values = prefix_end(prefix), []
    start = prefix
    while True:
        page = txn.scan(start, end, SCAN_PAGE)
        values += [value for _, value in page]
        if len(page) < SCAN_PAGE:
            return values
        start = page[-1][0] + b"\0"
