"""Where S3 keeps what. A bucket is a shard, and because names are global its key has no account and no region."""

from collections.abc import Iterator
from typing import Any, Final

import msgspec

from tule.kernel.context import RequestContext
from tule.services.s3.errors import no_such_bucket, no_such_key, no_such_upload
from tule.services.s3.models import NULL_VERSION, Bucket, ObjectVersion, Part, Upload
from tule.store.keys import LARGEST_NUMBER, after, pack, prefix_end
from tule.store.transaction import ReadTxn, ShardKey, Txn

BUCKET_KIND: Final = "bucket"
"""The directory kind under which buckets are listed."""

SCAN_PAGE: Final = 256
_BUCKET: Final = pack("bucket")

_bucket = msgspec.msgpack.Decoder(Bucket)
_version = msgspec.msgpack.Decoder(ObjectVersion)
_upload = msgspec.msgpack.Decoder(Upload)
_part = msgspec.msgpack.Decoder(Part)
_encode = msgspec.msgpack.Encoder().encode


def shard(bucket_name: str) -> ShardKey:
    return ShardKey("s3", "", "", "bucket", bucket_name)


def shard_of(_context: RequestContext, request: dict[str, Any]) -> ShardKey:
    return shard(request["Bucket"])


def decode_bucket(value: bytes) -> Bucket:
    return _bucket.decode(value)


def find_bucket(txn: ReadTxn) -> Bucket | None:
    value = txn.get(_BUCKET)
    return None if value is None else _bucket.decode(value)


def bucket(txn: ReadTxn) -> Bucket:
    """The shard's bucket; NoSuchBucket if there is none."""
    found = find_bucket(txn)
    if found is None:
        raise no_such_bucket(txn.shard.name)
    return found


def save_bucket(txn: Txn, changed: Bucket) -> None:
    value = _encode(changed)
    txn.put(_BUCKET, value)
    txn.enlist(BUCKET_KIND, changed.name, value)


def drop_bucket(txn: Txn, name: str) -> None:
    txn.delete(_BUCKET)
    txn.delist(BUCKET_KIND, name)
    for prefix in ("upload", "part"):
        txn.delete_range(pack(prefix), prefix_end(pack(prefix)))


def has_versions(txn: ReadTxn) -> bool:
    """Whether anything, markers too, still lies in the bucket."""
    return bool(txn.scan(pack("version"), prefix_end(pack("version")), 1))


def find_current(txn: ReadTxn, key: str) -> ObjectVersion | None:
    """The latest version, which may be a delete marker."""
    prefix = pack("version", key)
    rows = txn.scan(prefix, prefix_end(prefix), 1)
    return _version.decode(rows[0][1]) if rows else None


def current(txn: ReadTxn, key: str) -> ObjectVersion:
    """The object as it is; NoSuchKey if it isn't."""
    value = txn.get(pack("object", key))
    if value is None:
        raise no_such_key(key)
    return _version.decode(value)


def find_object(txn: ReadTxn, key: str) -> ObjectVersion | None:
    value = txn.get(pack("object", key))
    return None if value is None else _version.decode(value)


def versions(txn: ReadTxn, key: str) -> list[ObjectVersion]:
    """All versions of one key, the latest first."""
    prefix = pack("version", key)
    return [_version.decode(value) for _, value in _rows(txn, prefix, prefix_end(prefix))]


def find_version(txn: ReadTxn, key: str, version_id: str) -> ObjectVersion | None:
    return next((one for one in versions(txn, key) if one.version_id == version_id), None)


def add_version(txn: Txn, added: ObjectVersion, data: bytes | None = None) -> None:
    """Make this the latest version; a "null" version replaces the one there was."""
    if added.version_id == NULL_VERSION:
        old = find_version(txn, added.key, NULL_VERSION)
        if old is not None:
            _erase(txn, old)
    value = _encode(added)
    txn.put(_version_key(added), value)
    if data is not None:
        txn.put(pack("data", added.order), data)
    if added.delete_marker:
        txn.delete(pack("object", added.key))
    else:
        txn.put(pack("object", added.key), value)


def replace_version(txn: Txn, changed: ObjectVersion) -> None:
    """Change a version's record in its place (tags)."""
    value = _encode(changed)
    txn.put(_version_key(changed), value)
    latest = find_object(txn, changed.key)
    if latest is not None and latest.order == changed.order:
        txn.put(pack("object", changed.key), value)


def drop_version(txn: Txn, gone: ObjectVersion) -> None:
    """Erase one version; the one before it becomes the latest."""
    _erase(txn, gone)
    latest = find_current(txn, gone.key)
    if latest is None or latest.delete_marker:
        txn.delete(pack("object", gone.key))
    else:
        txn.put(pack("object", gone.key), _encode(latest))


def _erase(txn: Txn, gone: ObjectVersion) -> None:
    txn.delete(_version_key(gone))
    if gone.inline:
        txn.delete(pack("data", gone.order))


def inline_data(txn: ReadTxn, version: ObjectVersion) -> bytes:
    return txn.get(pack("data", version.order)) or b""


def _version_key(version: ObjectVersion) -> bytes:
    # The largest order first: a scan of one key meets its latest version at once.
    return pack("version", version.key, LARGEST_NUMBER - version.order)


def objects(txn: ReadTxn, start: bytes, end: bytes) -> Iterator[ObjectVersion]:
    """Latest versions between two keys of `object_key`, in key order."""
    for _, value in _rows(txn, start, end):
        yield _version.decode(value)


def all_versions(txn: ReadTxn, start: bytes) -> Iterator[ObjectVersion]:
    """All versions from a key of `version_start` on, by key and latest first."""
    for _, value in _rows(txn, start, prefix_end(pack("version"))):
        yield _version.decode(value)


def object_key(key: str) -> bytes:
    return pack("object", key)


def objects_end() -> bytes:
    return prefix_end(pack("object"))


def version_start(key: str, order: int | None = None) -> bytes:
    """Where a list of versions begins: at the latest of `key`, or right after the version with `order`."""
    return pack("version", key) if order is None else after(pack("version", key, LARGEST_NUMBER - order))


def save_upload(txn: Txn, upload: Upload) -> None:
    txn.put(pack("upload", upload.key, upload.id), _encode(upload))


def upload(txn: ReadTxn, key: str, upload_id: str) -> Upload:
    """The multipart upload; NoSuchUpload if it never began or has ended."""
    value = txn.get(pack("upload", key, upload_id))
    if value is None:
        raise no_such_upload(upload_id)
    return _upload.decode(value)


def uploads(txn: ReadTxn) -> list[Upload]:
    prefix = pack("upload")
    return [_upload.decode(value) for _, value in _rows(txn, prefix, prefix_end(prefix))]


def drop_upload(txn: Txn, gone: Upload) -> None:
    txn.delete(pack("upload", gone.key, gone.id))
    prefix = pack("part", gone.id)
    txn.delete_range(prefix, prefix_end(prefix))


def save_part(txn: Txn, upload_id: str, part: Part) -> None:
    txn.put(pack("part", upload_id, part.number), _encode(part))


def parts(txn: ReadTxn, upload_id: str) -> list[Part]:
    prefix = pack("part", upload_id)
    return [_part.decode(value) for _, value in _rows(txn, prefix, prefix_end(prefix))]


def _rows(txn: ReadTxn, start: bytes, end: bytes) -> Iterator[tuple[bytes, bytes]]:
    while True:
        rows = txn.scan(start, end, SCAN_PAGE)
        yield from rows
        if len(rows) < SCAN_PAGE:
            return
        start = after(rows[-1][0])
