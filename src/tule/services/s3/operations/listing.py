"""Lists of objects and versions, with prefixes and delimiters."""

import base64
from collections.abc import Callable, Iterable
from typing import Any, Final
from urllib.parse import quote

from tule.services.s3 import state
from tule.services.s3.errors import invalid_argument
from tule.services.s3.models import MAX_LIST_KEYS, ObjectVersion
from tule.services.s3.operations.buckets import check_bucket, owner
from tule.store.keys import after, pack_open, prefix_end
from tule.store.transaction import ReadTxn

_HIGHEST: Final = "\U0010ffff"


def _encoder(request: dict[str, Any]) -> Callable[[str], str]:
    """How keys are written: as they are, or percent-encoded where the caller asked for it."""
    kind = request.get("EncodingType")
    if kind is None:
        return str
    if kind != "url":
        raise invalid_argument("Invalid Encoding Method specified in Request", "encoding-type", kind)
    return lambda text: quote(text, safe="/-_.*~")


def _object_view(version: ObjectVersion, encode: Callable[[str], str]) -> dict[str, Any]:
    view: dict[str, Any] = {
        "Key": encode(version.key),
        "LastModified": version.modified_ms / 1000,
        "ETag": f'"{version.etag}"',
        "Size": version.size_bytes,
        "StorageClass": version.headers.get("StorageClass", "STANDARD"),
    }
    algorithms = [name[8:] for name in version.checksums if name.startswith("Checksum") and name != "ChecksumType"]
    if algorithms:
        view |= {"ChecksumAlgorithm": algorithms, "ChecksumType": version.checksums.get("ChecksumType", "FULL_OBJECT")}
    return view


class _Page:
    """What a list has gathered: objects, common prefixes and where it stopped."""

    def __init__(self) -> None:
        self.objects: list[ObjectVersion] = []
        self.prefixes: list[str] = []
        self.last = ""
        self.truncated = False

    def __len__(self) -> int:
        return len(self.objects) + len(self.prefixes)


def _gather(txn: ReadTxn, prefix: str, delimiter: str, start_after: str, limit: int) -> _Page:
    page = _Page()
    if limit == 0:
        return page
    end = prefix_end(pack_open("object", prefix)) if prefix else state.objects_end()
    low = state.object_key(prefix) if start_after < prefix else after(state.object_key(start_after))
    if not prefix and not start_after:
        low = state.object_key("")
    while True:
        skipped = False
        for version in state.objects(txn, low, end):
            cut = version.key.find(delimiter, len(prefix)) if delimiter else -1
            common = version.key[: cut + len(delimiter)] if cut >= 0 else ""
            if common and common <= start_after and start_after.startswith(common):
                # The page before ended with this common prefix: everything under it has been told.
                low, skipped = prefix_end(pack_open("object", common)), True
                break
            if len(page) == limit:
                page.truncated = True
                return page
            if common:
                page.prefixes.append(common)
                page.last = common
                low, skipped = prefix_end(pack_open("object", common)), True
                break
            page.objects.append(version)
            page.last = version.key
        if not skipped:
            return page


def _limit(request: dict[str, Any]) -> int:
    limit = request.get("MaxKeys")
    if limit is None:
        return MAX_LIST_KEYS
    if limit < 0:
        raise invalid_argument("Argument maxKeys must be an integer between 0 and 2147483647", "maxKeys", str(limit))
    return min(int(limit), MAX_LIST_KEYS)


def list_objects_v2(txn: ReadTxn, request: dict[str, Any]) -> dict[str, Any]:
    bucket, encode, limit = check_bucket(txn, request.get("ExpectedBucketOwner")), _encoder(request), _limit(request)
    prefix, delimiter = request.get("Prefix") or "", request.get("Delimiter") or ""
    token, start_after = request.get("ContinuationToken"), request.get("StartAfter") or ""
    page = _gather(txn, prefix, delimiter, _from_token(token) if token is not None else start_after, limit)
    contents = [_object_view(one, encode) for one in page.objects]
    if request.get("FetchOwner"):
        contents = [{**one, "Owner": owner(bucket.owner)} for one in contents]
    result: dict[str, Any] = {
        "Name": bucket.name,
        "Prefix": encode(prefix),
        "MaxKeys": limit,
        "KeyCount": len(page),
        "IsTruncated": page.truncated,
        "Contents": contents,
        "CommonPrefixes": [{"Prefix": encode(one)} for one in page.prefixes],
    }
    if delimiter:
        result["Delimiter"] = encode(delimiter)
    if request.get("EncodingType"):
        result["EncodingType"] = request["EncodingType"]
    if start_after:
        result["StartAfter"] = encode(start_after)
    if token is not None:
        result["ContinuationToken"] = token
    if page.truncated:
        result["NextContinuationToken"] = base64.urlsafe_b64encode(page.last.encode()).decode()
    return result


def _from_token(token: str) -> str:
    try:
        return base64.urlsafe_b64decode(token.encode()).decode()
    except ValueError as error:
        raise invalid_argument("The continuation token provided is incorrect", "continuation-token", token) from error


def list_objects(txn: ReadTxn, request: dict[str, Any]) -> dict[str, Any]:
    bucket, encode, limit = check_bucket(txn, request.get("ExpectedBucketOwner")), _encoder(request), _limit(request)
    prefix, delimiter = request.get("Prefix") or "", request.get("Delimiter") or ""
    page = _gather(txn, prefix, delimiter, request.get("Marker") or "", limit)
    contents = [{**_object_view(one, encode), "Owner": owner(bucket.owner)} for one in page.objects]
    result: dict[str, Any] = {
        "Name": bucket.name,
        "Prefix": encode(prefix),
        "Marker": encode(request.get("Marker") or ""),
        "MaxKeys": limit,
        "IsTruncated": page.truncated,
        "Contents": contents,
        "CommonPrefixes": [{"Prefix": encode(one)} for one in page.prefixes],
    }
    if delimiter:
        result["Delimiter"] = encode(delimiter)
    if page.truncated and delimiter:
        result["NextMarker"] = encode(page.last)
    if request.get("EncodingType"):
        result["EncodingType"] = request["EncodingType"]
    return result


def list_object_versions(txn: ReadTxn, request: dict[str, Any]) -> dict[str, Any]:
    bucket, encode, limit = check_bucket(txn, request.get("ExpectedBucketOwner")), _encoder(request), _limit(request)
    prefix, delimiter = request.get("Prefix") or "", request.get("Delimiter") or ""
    key_marker, version_marker = request.get("KeyMarker") or "", request.get("VersionIdMarker")
    if version_marker and not key_marker:
        raise invalid_argument(
            "A version-id marker cannot be specified without a key marker.", "version-id-marker", version_marker
        )
    rows, prefixes, truncated = _gather_versions(
        state.all_versions(txn, _versions_from(txn, prefix, key_marker, version_marker)),
        prefix,
        delimiter,
        key_marker,
        limit,
    )
    result = _versions_view(rows, encode, bucket.owner)
    result |= {
        "Name": bucket.name,
        "Prefix": encode(prefix),
        "KeyMarker": encode(key_marker),
        "VersionIdMarker": version_marker or "",
        "MaxKeys": limit,
        "IsTruncated": truncated,
        "CommonPrefixes": [{"Prefix": encode(one)} for one in prefixes],
    }
    if delimiter:
        result["Delimiter"] = encode(delimiter)
    if request.get("EncodingType"):
        result["EncodingType"] = request["EncodingType"]
    if truncated:
        last = rows[-1][0] if rows else None
        if prefixes and (last is None or prefixes[-1] > last.key):
            result["NextKeyMarker"] = encode(prefixes[-1] + _HIGHEST)
        elif last is not None:
            result |= {"NextKeyMarker": encode(last.key), "NextVersionIdMarker": last.version_id}
    return result


def _gather_versions(
    versions: Iterable[ObjectVersion], prefix: str, delimiter: str, key_marker: str, limit: int
) -> tuple[list[tuple[ObjectVersion, bool]], list[str], bool]:
    """Versions with whether each is its key's latest, common prefixes, and whether there is more."""
    rows: list[tuple[ObjectVersion, bool]] = []
    prefixes: list[str] = []
    latest_key = key_marker
    for version in versions:
        if not version.key.startswith(prefix):
            break
        is_latest, latest_key = version.key != latest_key, version.key
        cut = version.key.find(delimiter, len(prefix)) if delimiter else -1
        common = version.key[: cut + len(delimiter)] if cut >= 0 else ""
        if common and (common in prefixes[-1:] or key_marker.startswith(common)):
            continue
        if len(rows) + len(prefixes) == limit:
            return rows, prefixes, True
        if common:
            prefixes.append(common)
        else:
            rows.append((version, is_latest))
    return rows, prefixes, False


def _versions_from(txn: ReadTxn, prefix: str, key_marker: str, version_marker: str | None) -> bytes:
    if not key_marker or key_marker < prefix:
        return pack_open("version", prefix)
    if version_marker:
        marked = state.find_version(txn, key_marker, version_marker)
        if marked is None:
            raise invalid_argument("Invalid version id specified", "version-id-marker", version_marker)
        return state.version_start(key_marker, marked.order)
    return state.version_start(key_marker, 0)


def _versions_view(
    rows: list[tuple[ObjectVersion, bool]], encode: Callable[[str], str], account: str
) -> dict[str, Any]:
    versions, markers = [], []
    for version, is_latest in rows:
        shared = {"Owner": owner(account), "VersionId": version.version_id, "IsLatest": is_latest}
        if version.delete_marker:
            marker = {"Key": encode(version.key), "LastModified": version.modified_ms / 1000}
            markers.append({**marker, **shared})
        else:
            versions.append({**_object_view(version, encode), **shared})
    return {"Versions": versions, "DeleteMarkers": markers}
