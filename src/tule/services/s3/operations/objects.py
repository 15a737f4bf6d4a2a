"""Objects: put, get, head, copy, delete, tags."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final
from urllib.parse import parse_qsl, unquote

import msgspec

from tule.kernel.errors import AwsError, OperationNotImplementedError
from tule.services.declaration import Context
from tule.services.s3 import content, state
from tule.services.s3.errors import invalid_argument, no_such_key, no_such_version, precondition_failed, refuse
from tule.services.s3.models import (
    INLINE_BYTES,
    MAX_KEY_BYTES,
    MAX_LIST_KEYS,
    MAX_METADATA_BYTES,
    MAX_OBJECT_TAGS,
    NULL_VERSION,
    Bucket,
    ObjectVersion,
)
from tule.services.s3.operations.buckets import check_bucket, tags_of
from tule.store.transaction import ReadTxn, Txn

HEADERS: Final = (
    "CacheControl",
    "ContentDisposition",
    "ContentEncoding",
    "ContentLanguage",
    "ContentType",
    "Expires",
    "StorageClass",
    "WebsiteRedirectLocation",
)
"""What an object keeps of the headers it was put with."""

_REFUSED: Final = (
    "ACL",
    "GrantFullControl",
    "GrantRead",
    "GrantReadACP",
    "GrantWriteACP",
    "ObjectLockLegalHoldStatus",
    "ObjectLockMode",
    "ObjectLockRetainUntilDate",
    "SSECustomerAlgorithm",
    "SSEKMSKeyId",
    "WriteOffsetBytes",
)
"""Members whose promise nothing here keeps."""


def check_members(operation: str, request: Mapping[str, Any]) -> None:
    """Refuse by name what would be a promise."""
    for member in _REFUSED:
        if request.get(member) not in (None, "private", "bucket-owner-full-control"):
            raise OperationNotImplementedError("s3", operation, f"{member} is not honoured; leave it out.")
    if request.get("ServerSideEncryption") not in (None, "AES256"):
        raise OperationNotImplementedError("s3", operation, "Only AES256 (SSE-S3) is accepted.")


def check_key(key: str) -> None:
    if len(key.encode()) > MAX_KEY_BYTES:
        raise refuse("KeyTooLongError", "Your key is too long", MaxSizeAllowed=str(MAX_KEY_BYTES))


def kept_headers(request: Mapping[str, Any]) -> dict[str, str]:
    headers = {name: str(request[name]) for name in HEADERS if request.get(name)}
    # aws-chunked describes the transfer, not the object, so S3 doesn't keep it.
    encodings = [one.strip() for one in headers.get("ContentEncoding", "").split(",")]
    kept = ",".join(one for one in encodings if one and one != "aws-chunked")
    headers.pop("ContentEncoding", None)
    if kept:
        headers["ContentEncoding"] = kept
    return headers


def kept_metadata(request: Mapping[str, Any]) -> dict[str, str]:
    metadata = {str(key).lower(): str(value) for key, value in (request.get("Metadata") or {}).items()}
    size = sum(len(key.encode()) + len(value.encode()) for key, value in metadata.items())
    if size > MAX_METADATA_BYTES:
        raise refuse(
            "MetadataTooLarge",
            "Your metadata headers exceed the maximum allowed metadata size",
            Size=str(size),
            MaxSizeAllowed=str(MAX_METADATA_BYTES),
        )
    return metadata


def header_tags(text: str | None) -> dict[str, str]:
    """The x-amz-tagging header: tags as a query string."""
    if not text:
        return {}
    rows = [{"Key": key, "Value": value} for key, value in parse_qsl(text, keep_blank_values=True)]
    return tags_of(rows, MAX_OBJECT_TAGS)


def version_id_for(txn: Txn, bucket: Bucket) -> str:
    """A new version's id: opaque and unique where versioning is on, "null" elsewhere."""
    if bucket.versioning == "Enabled":
        return txn.random(24).hex()
    return NULL_VERSION


def check_write_conditions(txn: ReadTxn, request: Mapping[str, Any]) -> None:
    """If-None-Match: * and If-Match of a write."""
    none_match, match = request.get("IfNoneMatch"), request.get("IfMatch")
    if none_match is None and match is None:
        return
    old = state.find_object(txn, request["Key"])
    if none_match is not None:
        if none_match != "*":
            raise OperationNotImplementedError("s3", txn.context.operation, "If-None-Match takes * for writes.")
        if old is not None:
            raise precondition_failed("If-None-Match")
    if match is not None:
        if old is None:
            raise no_such_key(request["Key"])
        if match.strip('"') != old.etag:
            raise precondition_failed("If-Match")


async def put_object(ctx: Context, request: dict[str, Any]) -> dict[str, Any]:
    check_members("PutObject", request)
    check_key(request["Key"])
    blobs = ctx.env.ports.blobs
    taken = await content.take(request.get("Body"), request, blobs, inline_below=INLINE_BYTES)
    template = ObjectVersion(
        key=request["Key"],
        version_id="",
        order=0,
        modified_ms=0,
        etag=taken.etag,
        size_bytes=taken.size_bytes,
        inline=not taken.blobs,
        blobs=taken.blobs,
        headers=kept_headers(request),
        metadata=kept_metadata(request),
        tags=header_tags(request.get("Tagging")),
        checksums={**taken.checksums, "ChecksumType": "FULL_OBJECT"},
    )

    def write(txn: Txn) -> ObjectVersion:
        bucket = check_bucket(txn, request.get("ExpectedBucketOwner"))
        check_write_conditions(txn, request)
        return add(txn, bucket, template, None if taken.blobs else taken.data)

    return _written(await ctx.store.transact(state.shard(request["Bucket"]), write, ctx.request))


def add(txn: Txn, bucket: Bucket, template: ObjectVersion, data: bytes | None) -> ObjectVersion:
    """Store a version made from `template`, with its id, order and time."""
    version = msgspec.structs.replace(
        template, version_id=version_id_for(txn, bucket), order=txn.new_id(), modified_ms=txn.now
    )
    state.add_version(txn, version, data)
    return version


def _written(version: ObjectVersion) -> dict[str, Any]:
    result: dict[str, Any] = {"ETag": f'"{version.etag}"', **version.checksums}
    if version.version_id != NULL_VERSION:
        result["VersionId"] = version.version_id
    return result


def find(txn: ReadTxn, request: Mapping[str, Any]) -> ObjectVersion:
    """The version a read names, or the current one."""
    check_bucket(txn, request.get("ExpectedBucketOwner"))
    key, version_id = request["Key"], request.get("VersionId")
    if version_id is None:
        latest = state.find_object(txn, key)
        if latest is None:
            raise no_such_key(key)
        return latest
    found = state.find_version(txn, key, version_id)
    if found is None:
        raise no_such_version(key, version_id)
    if found.delete_marker:
        raise refuse(
            "MethodNotAllowed",
            "The specified method is not allowed against this resource.",
            405,
            Method=txn.context.operation,
            ResourceType="DeleteMarker",
        )
    return found


def check_read_conditions(request: Mapping[str, Any], version: ObjectVersion) -> None:
    """RFC 9110 in S3's order: If-Match before If-Unmodified-Since, If-None-Match before If-Modified-Since."""
    match, none_match = request.get("IfMatch"), request.get("IfNoneMatch")
    unmodified, modified = request.get("IfUnmodifiedSince"), request.get("IfModifiedSince")
    changed_s = version.modified_ms // 1000
    if match is not None:
        if match.strip('"') not in (version.etag, "*"):
            raise precondition_failed("If-Match")
    elif unmodified is not None and changed_s > unmodified:
        raise precondition_failed("If-Unmodified-Since")
    not_modified = refuse("304", "Not Modified", 304)
    if none_match is not None:
        if none_match.strip('"') in (version.etag, "*"):
            raise not_modified
    elif modified is not None and changed_s <= modified:
        raise not_modified


def _described(request: Mapping[str, Any], version: ObjectVersion) -> dict[str, Any]:
    result: dict[str, Any] = {
        "AcceptRanges": "bytes",
        "LastModified": version.modified_ms // 1000,
        "ETag": f'"{version.etag}"',
        "ContentLength": version.size_bytes,
        "ContentType": "binary/octet-stream",
        "Metadata": version.metadata,
        **{name: value for name, value in version.headers.items() if value != "STANDARD"},
    }
    if version.version_id != NULL_VERSION:
        result["VersionId"] = version.version_id
    if version.tags:
        result["TagCount"] = len(version.tags)
    if request.get("ChecksumMode") == "ENABLED":
        result.update(version.checksums)
    if request.get("PartNumber") and version.parts:
        result["PartsCount"] = len(version.parts)
    for member in ("CacheControl", "ContentDisposition", "ContentEncoding", "ContentLanguage", "ContentType"):
        if request.get(f"Response{member}"):
            result[member] = request[f"Response{member}"]
    if request.get("ResponseExpires"):
        moment = datetime.fromtimestamp(request["ResponseExpires"], UTC)
        result["Expires"] = moment.strftime("%a, %d %b %Y %H:%M:%S GMT")
    return result


def _stretch(request: Mapping[str, Any], version: ObjectVersion) -> tuple[int, int] | None:
    """The bytes asked for, by Range or by part number; None for all of them."""
    number = request.get("PartNumber")
    if number is None:
        return content.byte_range(request.get("Range"), version.size_bytes)
    if request.get("Range"):
        raise refuse("InvalidRequest", "Cannot specify both Range header and partNumber query parameter")
    sizes = version.parts or (version.size_bytes,)
    if not 1 <= number <= len(sizes):
        raise refuse(
            "InvalidPartNumber",
            "The requested partnumber is not satisfiable",
            416,
            PartNumberRequested=str(number),
            ActualPartCount=str(len(sizes)),
        )
    start = sum(sizes[: number - 1])
    return start, start + sizes[number - 1]


async def get_object(ctx: Context, request: dict[str, Any]) -> dict[str, Any]:
    check_members("GetObject", request)

    def load(txn: ReadTxn) -> tuple[ObjectVersion, bytes]:
        version = find(txn, request)
        return version, state.inline_data(txn, version) if version.inline else b""

    version, data = await ctx.store.read(state.shard(request["Bucket"]), load, ctx.request)
    check_read_conditions(request, version)
    result, stretch = _described(request, version), _stretch(request, version)
    start, end = stretch or (0, version.size_bytes)
    if stretch is not None:
        result["ContentRange"] = f"bytes {start}-{end - 1}/{version.size_bytes}"
        result["ContentLength"] = end - start
        for name in list(result):
            if name.startswith("Checksum"):
                del result[name]
    result["Body"] = data[start:end] if version.inline else content.read(ctx.env.ports.blobs, version.blobs, start, end)
    return result


async def head_object(ctx: Context, request: dict[str, Any]) -> dict[str, Any]:
    version = await ctx.store.read(state.shard(request["Bucket"]), lambda txn: find(txn, request), ctx.request)
    check_read_conditions(request, version)
    result, stretch = _described(request, version), _stretch(request, version)
    if stretch is not None:
        start, end = stretch
        result["ContentRange"] = f"bytes {start}-{end - 1}/{version.size_bytes}"
        result["ContentLength"] = end - start
    return result


async def copy_object(ctx: Context, request: dict[str, Any]) -> dict[str, Any]:
    check_members("CopyObject", request)
    check_key(request["Key"])
    source_bucket, source_key, source_version = copy_source(request["CopySource"])
    wanted = {"Key": source_key, "VersionId": source_version}

    def load(txn: ReadTxn) -> tuple[ObjectVersion, bytes]:
        version = find(txn, wanted)
        return version, state.inline_data(txn, version) if version.inline else b""

    source, data = await ctx.store.read(state.shard(source_bucket), load, ctx.request)
    conditions = {
        name: request.get(f"CopySource{name}")
        for name in ("IfMatch", "IfNoneMatch", "IfModifiedSince", "IfUnmodifiedSince")
    }
    try:
        check_read_conditions(conditions, source)
    except AwsError as error:
        raise precondition_failed("x-amz-copy-source-If-None-Match") from error
    replace = request.get("MetadataDirective") == "REPLACE"
    same = (source_bucket, source_key) == (request["Bucket"], request["Key"])
    if same and not replace and source_version is None and not request.get("StorageClass"):
        raise refuse(
            "InvalidRequest",
            "This copy request is illegal because it is trying to copy an object to itself without changing the "
            "object's metadata, storage class, website redirect location or encryption attributes.",
        )
    template = msgspec.structs.replace(
        source,
        key=request["Key"],
        parts=(),
        headers=kept_headers(request) if replace else source.headers,
        metadata=kept_metadata(request) if replace else source.metadata,
        tags=header_tags(request.get("Tagging")) if request.get("TaggingDirective") == "REPLACE" else source.tags,
    )

    def write(txn: Txn) -> ObjectVersion:
        bucket = check_bucket(txn, request.get("ExpectedBucketOwner"))
        check_write_conditions(txn, request)
        return add(txn, bucket, template, data if source.inline else None)

    made = await ctx.store.transact(state.shard(request["Bucket"]), write, ctx.request)
    copied = {"ETag": f'"{made.etag}"', "LastModified": made.modified_ms / 1000, **made.checksums}
    result: dict[str, Any] = {"CopyObjectResult": copied}
    if made.version_id != NULL_VERSION:
        result["VersionId"] = made.version_id
    if source.version_id != NULL_VERSION:
        result["CopySourceVersionId"] = source.version_id
    return result


def copy_source(text: str) -> tuple[str, str, str | None]:
    """Bucket, key and version of x-amz-copy-source."""
    path, _, query = text.partition("?versionId=")
    bucket, _, key = unquote(path).lstrip("/").partition("/")
    if not bucket or not key:
        raise invalid_argument("Invalid copy source object key", "x-amz-copy-source", text)
    return bucket, key, query or None


def delete_object(txn: Txn, request: dict[str, Any]) -> dict[str, Any]:
    bucket = check_bucket(txn, request.get("ExpectedBucketOwner"))
    return _delete(txn, bucket, request["Key"], request.get("VersionId"))


def _delete(txn: Txn, bucket: Bucket, key: str, version_id: str | None) -> dict[str, Any]:
    if version_id is not None:
        gone = state.find_version(txn, key, version_id)
        if gone is None:
            return {"VersionId": version_id}
        state.drop_version(txn, gone)
        marker: dict[str, Any] = {"DeleteMarker": True} if gone.delete_marker else {}
        return {"VersionId": version_id, **marker}
    if not bucket.versioning:
        gone = state.find_object(txn, key)
        if gone is not None:
            state.drop_version(txn, gone)
        return {}
    made = add(txn, bucket, ObjectVersion(key, "", 0, 0, delete_marker=True), None)
    return {"DeleteMarker": True, "VersionId": made.version_id}


def delete_objects(txn: Txn, request: dict[str, Any]) -> dict[str, Any]:
    bucket, wanted = check_bucket(txn, request.get("ExpectedBucketOwner")), request["Delete"]
    if not 0 < len(wanted["Objects"]) <= MAX_LIST_KEYS:
        raise refuse(
            "MalformedXML", "The XML you provided was not well-formed or did not validate against our published schema"
        )
    deleted = []
    for one in wanted["Objects"]:
        answer = _delete(txn, bucket, one["Key"], one.get("VersionId"))
        row: dict[str, Any] = {"Key": one["Key"]}
        if one.get("VersionId"):
            row["VersionId"] = one["VersionId"]
        if answer.get("DeleteMarker"):
            row |= {"DeleteMarker": True, "DeleteMarkerVersionId": answer["VersionId"]}
        deleted.append(row)
    return {} if wanted.get("Quiet") else {"Deleted": deleted}


def put_object_tagging(txn: Txn, request: dict[str, Any]) -> dict[str, Any]:
    tags = tags_of(request["Tagging"]["TagSet"], MAX_OBJECT_TAGS)
    return _tag(txn, request, tags)


def delete_object_tagging(txn: Txn, request: dict[str, Any]) -> dict[str, Any]:
    return _tag(txn, request, {})


def _tag(txn: Txn, request: dict[str, Any], tags: dict[str, str]) -> dict[str, Any]:
    version = find(txn, request)
    state.replace_version(txn, msgspec.structs.replace(version, tags=tags))
    return {} if version.version_id == NULL_VERSION else {"VersionId": version.version_id}


def get_object_tagging(txn: ReadTxn, request: dict[str, Any]) -> dict[str, Any]:
    version = find(txn, request)
    result: dict[str, Any] = {"TagSet": [{"Key": key, "Value": value} for key, value in version.tags.items()]}
    if version.version_id != NULL_VERSION:
        result["VersionId"] = version.version_id
    return result
