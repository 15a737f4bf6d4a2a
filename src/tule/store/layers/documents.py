"""Resources as typed documents, with what most AWS services keep beside them: tags, page tokens, idempotency tokens."""

from base64 import urlsafe_b64decode, urlsafe_b64encode
from binascii import Error as Base64Error
from collections.abc import Iterable, Mapping, Sequence
from hashlib import sha256
from typing import Any, Generic, NamedTuple, TypeVar

import msgspec

from tule.kernel.clocks import Instant
from tule.store.keys import Part, after, pack, pack_open, prefix_end, short, unpack
from tule.store.sweeping import expire, sweep
from tule.store.transaction import ReadTxn, Txn

D = TypeVar("D")

_encoder = msgspec.msgpack.Encoder()


class NameCollisionError(Exception):
    """Two long names with one SHA-256; nobody has ever seen this."""


class Page(NamedTuple, Generic[D]):
    """Documents in name order, and the name after which the next page begins (None: there is none)."""

    items: list[tuple[str, D]]
    next_after: str | None


class Documents(Generic[D]):
    """All documents of one `kind` in a shard, by name. `form` is a frozen msgspec.Struct; give new fields defaults."""

    __slots__ = ("_decode", "_kind", "_prefix")

    def __init__(self, kind: str, form: type[D]) -> None:
        self._kind = kind
        self._prefix = pack("doc", kind)
        self._decode = msgspec.msgpack.Decoder(tuple[str, form]).decode  # type: ignore[valid-type]  # a form at run time

    def key(self, name: str) -> bytes:
        """The key of a document, for hints."""
        return pack("doc", self._kind, short(name))

    def get(self, txn: ReadTxn, name: str) -> D | None:
        raw = txn.get(self.key(name))
        return None if raw is None else self._open(raw, name)[1]

    def put(self, txn: Txn, name: str, document: D) -> None:
        txn.put(self.key(name), _encoder.encode((name, document)))

    def delete(self, txn: Txn, name: str) -> None:
        """Forget it; one that doesn't exist is fine."""
        txn.delete(self.key(name))

    def page(self, txn: ReadTxn, limit: int, *, prefix: str = "", after_name: str = "") -> Page[D]:
        """At most `limit` documents whose names start with `prefix` and are greater than `after_name`."""
        whole = pack_open("doc", self._kind, prefix) if prefix else self._prefix
        start = max(whole, after(self.key(after_name))) if after_name else whole
        rows = txn.scan(start, prefix_end(whole), limit + 1)
        items = [self._open(value) for _, value in rows[:limit]]
        return Page(items, items[-1][0] if len(rows) > limit else None)

    def clear(self, txn: Txn) -> None:
        """Erase all of them in the background."""
        sweep(txn, self._prefix, prefix_end(self._prefix))

    def _open(self, raw: bytes, name: str | None = None) -> tuple[str, D]:
        found: tuple[str, D] = self._decode(raw)
        if name is not None and found[0] != name:
            raise NameCollisionError(self._kind, name)
        return found


class Tags:
    """The tags of resources of one `kind`, by the resource's name."""

    __slots__ = ("_kind",)

    _decode = staticmethod(msgspec.msgpack.Decoder(dict[str, str]).decode)

    def __init__(self, kind: str) -> None:
        self._kind = kind

    def of(self, txn: ReadTxn, name: str) -> dict[str, str]:
        raw = txn.get(self._key(name))
        return {} if raw is None else self._decode(raw)

    def add(self, txn: Txn, name: str, tags: Mapping[str, str]) -> dict[str, str]:
        """Set these; what all of them are now, for the caller to hold against its service's limit before returning."""
        merged = {**self.of(txn, name), **tags}
        self._put(txn, name, merged)
        return merged

    def remove(self, txn: Txn, name: str, keys: Iterable[str]) -> None:
        """Take these off; ones that aren't there are fine."""
        gone = set(keys)
        self._put(txn, name, {key: value for key, value in self.of(txn, name).items() if key not in gone})

    def _put(self, txn: Txn, name: str, tags: Mapping[str, str]) -> None:
        if tags:
            txn.put(self._key(name), _encoder.encode(tags))
        else:
            txn.delete(self._key(name))

    def _key(self, name: str) -> bytes:
        return pack("tags", self._kind, short(name))


class InvalidTokenError(ValueError):
    """A page token that this list never gave; services answer with their own error."""


_TOKEN_VERSION = 1
_SCOPE_BYTES = 8


def page_token(scope: str, *position: Part) -> str:
    """A token that carries where the next page begins and nothing else, so that it outlives restarts.

    `scope` is whatever must be the same in the next request: account, operation, filters.
    """
    raw = bytes((_TOKEN_VERSION,)) + _scope_digest(scope) + pack(*position)
    return urlsafe_b64encode(raw).decode("ascii").rstrip("=")


def read_page_token(token: str, scope: str) -> Sequence[Part]:
    """The position in a token of the same scope; `InvalidTokenError` for everything else."""
    try:
        raw = urlsafe_b64decode(token.encode("ascii") + b"=" * (-len(token) % 4))
        if raw[:1] != bytes((_TOKEN_VERSION,)) or raw[1 : 1 + _SCOPE_BYTES] != _scope_digest(scope):
            raise InvalidTokenError(token)
        return unpack(raw[1 + _SCOPE_BYTES :])
    except (UnicodeError, Base64Error, ValueError, IndexError) as error:
        raise InvalidTokenError(token) from error


def _scope_digest(scope: str) -> bytes:
    return sha256(scope.encode("utf-8", "surrogatepass")).digest()[:_SCOPE_BYTES]


class Repeated(NamedTuple):
    """What was answered to a token before, and whether the request is the same as then."""

    result: Any
    same: bool


class Idempotency:
    """Client tokens of one `kind` of request: a repetition within `keep_ms` of service time gets the first answer."""

    __slots__ = ("_keep_ms", "_kind")

    _decode = staticmethod(msgspec.msgpack.Decoder(tuple[bytes, Any]).decode)

    def __init__(self, kind: str, keep_ms: int) -> None:
        self._kind = kind
        self._keep_ms = keep_ms

    def find(self, txn: ReadTxn, token: str, request: bytes) -> Repeated | None:
        """The earlier answer; services refuse where it isn't for the `same` request. None for a new token."""
        raw = txn.get(self._key(token))
        if raw is None:
            return None
        digest, result = self._decode(raw)
        return Repeated(result, digest == sha256(request).digest())

    def remember(self, txn: Txn, token: str, request: bytes, result: Any) -> None:
        """Keep the answer, in the transaction that does the work. `result` is what msgpack can write."""
        key = self._key(token)
        txn.put(key, _encoder.encode((sha256(request).digest(), result)))
        expire(txn, key, Instant(txn.now + self._keep_ms))

    def _key(self, token: str) -> bytes:
        return pack("token", self._kind, short(token))


def revision_id(txn: Txn) -> str:
    """A fresh revision id in the form of Lambda's and others': a version 4 UUID."""
    raw = bytearray(txn.random(16))
    raw[6] = raw[6] & 0x0F | 0x40
    raw[8] = raw[8] & 0x3F | 0x80
    digits = raw.hex()
    return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"
