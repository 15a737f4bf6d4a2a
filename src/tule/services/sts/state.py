"""Sessions of assumed roles, kept until they expire so that their keys go on working after a restart."""

import base64
from typing import Any, Final

import msgspec

from tule.kernel.context import Principal, RequestContext
from tule.kernel.ports import AccessKey
from tule.store.keys import pack, prefix_end
from tule.store.transaction import ReadTxn, ShardKey, Txn

SHARD: Final = ShardKey("sts", "", "", "sessions")

SWEEP_PER_SESSION: Final = 8
"""Expired sessions erased with each new one: more than come in, so the rest shrinks."""

SCAN_PAGE: Final = 1_000


class Session(msgspec.Struct, frozen=True):
    """Temporary credentials of a role."""

    access_key_id: str
    secret: str
    token: str
    account: str
    arn: str
    user_id: str
    expires_ms: int


_decode = msgspec.msgpack.Decoder(Session).decode
_encode = msgspec.msgpack.Encoder().encode


def shard_of(_context: RequestContext, _request: Any) -> ShardKey:
    return SHARD


def mint_session(txn: Txn, account: str, arn: str, user_id: str, expires_ms: int) -> Session:
    """New credentials, stored in this transaction."""
    session = Session(
        access_key_id="ASIA" + base64.b32encode(txn.random(10)).decode(),
        secret=base64.b64encode(txn.random(30)).decode(),
        token=base64.b64encode(txn.random(120)).decode(),
        account=account,
        arn=arn,
        user_id=user_id,
        expires_ms=expires_ms,
    )
    txn.put(pack("session", session.expires_ms, session.access_key_id), _encode(session))
    return session


def sweep(txn: Txn, now_ms: int) -> list[str]:
    """Erase a few expired sessions; their access key ids."""
    expired = txn.scan(pack("session"), pack("session", now_ms), SWEEP_PER_SESSION)
    for key, _ in expired:
        txn.delete(key)
    return [_decode(value).access_key_id for _, value in expired]


def live(txn: ReadTxn, now_ms: int) -> list[Session]:
    """Every session that has not expired, by expiry."""
    start, end, found = pack("session", now_ms), prefix_end(pack("session")), []
    while True:
        rows = txn.scan(start, end, SCAN_PAGE)
        found += [_decode(value) for _, value in rows]
        if len(rows) < SCAN_PAGE:
            return found
        start = rows[-1][0] + b"\0"


def signing_key(session: Session) -> AccessKey:
    """What signature checks need of a session."""
    principal = Principal("role", session.arn, session.user_id, session.access_key_id, known=True)
    return AccessKey(
        session.access_key_id, session.secret, session.account, principal, session.token, session.expires_ms
    )
