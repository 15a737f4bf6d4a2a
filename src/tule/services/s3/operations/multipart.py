"""Multipart uploads: the parts lie in files as they came, and the object is their list."""

import base64
import hashlib
from typing import Any

from tule.kernel.errors import OperationNotImplementedError
from tule.services.declaration import Context
from tule.services.s3 import content, state
from tule.services.s3.errors import invalid_argument, refuse
from tule.services.s3.models import (
    MAX_PARTS,
    MIN_PART_BYTES,
    NULL_VERSION,
    ObjectVersion,
    Part,
    Upload,
)
from tule.services.s3.operations.buckets import check_bucket, owner
from tule.services.s3.operations.objects import (
    add,
    check_key,
    check_members,
    check_write_conditions,
    header_tags,
    kept_headers,
    kept_metadata,
)
from tule.store.transaction import ReadTxn, Txn


def create_multipart_upload(txn: Txn, request: dict[str, Any]) -> dict[str, Any]:
    check_members("CreateMultipartUpload", request)
    check_key(request["Key"])
    check_bucket(txn, request.get("ExpectedBucketOwner"))
    algorithm = request.get("ChecksumAlgorithm") or ""
    if request.get("ChecksumType") == "FULL_OBJECT":
        raise OperationNotImplementedError("s3", "CreateMultipartUpload", "Full-object checksums are not reckoned.")
    begun = Upload(
        id=txn.random(48).hex(),
        key=request["Key"],
        started_ms=txn.now,
        headers=kept_headers(request),
        metadata=kept_metadata(request),
        tags=header_tags(request.get("Tagging")),
        checksum_algorithm=algorithm,
        checksum_type="COMPOSITE" if algorithm else "",
    )
    state.save_upload(txn, begun)
    result = {"Bucket": request["Bucket"], "Key": begun.key, "UploadId": begun.id}
    if algorithm:
        result |= {"ChecksumAlgorithm": algorithm, "ChecksumType": begun.checksum_type}
    return result


async def upload_part(ctx: Context, request: dict[str, Any]) -> dict[str, Any]:
    number = request["PartNumber"]
    if not 1 <= number <= MAX_PARTS:
        raise invalid_argument(
            f"Part number must be an integer between 1 and {MAX_PARTS}, inclusive", "partNumber", str(number)
        )
    shard = state.shard(request["Bucket"])

    def check(txn: ReadTxn) -> None:
        check_bucket(txn, request.get("ExpectedBucketOwner"))
        state.upload(txn, request["Key"], request["UploadId"])

    await ctx.store.read(shard, check, ctx.request)
    taken = await content.take(request.get("Body"), request, ctx.env.ports.blobs, inline_below=0)

    def write(txn: Txn) -> Part:
        state.upload(txn, request["Key"], request["UploadId"])
        part = Part(number, taken.etag, txn.now, taken.blobs[0], taken.checksums)
        state.save_part(txn, request["UploadId"], part)
        return part

    part = await ctx.store.transact(shard, write, ctx.request)
    return {"ETag": f'"{part.etag}"', **taken.checksums}


def complete_multipart_upload(txn: Txn, request: dict[str, Any]) -> dict[str, Any]:
    bucket = check_bucket(txn, request.get("ExpectedBucketOwner"))
    upload = state.upload(txn, request["Key"], request["UploadId"])
    chosen = _chosen(txn, upload, (request.get("MultipartUpload") or {}).get("Parts") or [])
    check_write_conditions(txn, request)
    digests = b"".join(bytes.fromhex(part.etag) for part in chosen)
    etag = f"{hashlib.md5(digests, usedforsecurity=False).hexdigest()}-{len(chosen)}"
    template = ObjectVersion(
        key=upload.key,
        version_id="",
        order=0,
        modified_ms=0,
        etag=etag,
        size_bytes=sum(part.blob.size_bytes for part in chosen),
        blobs=tuple(part.blob for part in chosen),
        parts=tuple(part.blob.size_bytes for part in chosen),
        headers=upload.headers,
        metadata=upload.metadata,
        tags=upload.tags,
        checksums=_composite(upload, chosen),
    )
    state.drop_upload(txn, upload)
    made = add(txn, bucket, template, None)
    result: dict[str, Any] = {
        "Location": f"{txn.context.base_url}/{bucket.name}/{upload.key}",
        "Bucket": bucket.name,
        "Key": upload.key,
        "ETag": f'"{etag}"',
        **made.checksums,
    }
    if made.version_id != NULL_VERSION:
        result["VersionId"] = made.version_id
    return result


def _chosen(txn: ReadTxn, upload: Upload, wanted: list[dict[str, Any]]) -> list[Part]:
    if not wanted:
        raise refuse("InvalidRequest", "You must specify at least one part")
    numbers = [one["PartNumber"] for one in wanted]
    if numbers != sorted(set(numbers)):
        raise refuse(
            "InvalidPartOrder",
            "The list of parts was not in ascending order. Parts must be ordered by part number.",
            UploadId=upload.id,
        )
    there = {part.number: part for part in state.parts(txn, upload.id)}
    chosen = []
    for one in wanted:
        part = there.get(one["PartNumber"])
        if part is None or part.etag != (one.get("ETag") or "").strip('"'):
            raise refuse(
                "InvalidPart",
                "One or more of the specified parts could not be found. The part may not have been uploaded, or the "
                "specified entity tag may not match the part's entity tag.",
                UploadId=upload.id,
                PartNumber=str(one["PartNumber"]),
            )
        chosen.append(part)
    for part in chosen[:-1]:
        if part.blob.size_bytes < MIN_PART_BYTES:
            raise refuse(
                "EntityTooSmall",
                "Your proposed upload is smaller than the minimum allowed size",
                ProposedSize=str(part.blob.size_bytes),
                MinSizeAllowed=str(MIN_PART_BYTES),
                PartNumber=str(part.number),
                ETag=part.etag,
            )
    return chosen


def _composite(upload: Upload, chosen: list[Part]) -> dict[str, str]:
    """The checksum of the parts' checksums, where the upload was begun with an algorithm."""
    name = f"Checksum{upload.checksum_algorithm}"
    if upload.checksum_algorithm not in content.ALGORITHMS:
        return {}
    sums = [part.checksums.get(name) for part in chosen]
    if None in sums:
        return {}
    joined = b"".join(base64.b64decode(one) for one in sums if one)
    value = f"{content.checksum(upload.checksum_algorithm, joined)}-{len(chosen)}"
    return {name: value, "ChecksumType": "COMPOSITE"}


def abort_multipart_upload(txn: Txn, request: dict[str, Any]) -> dict[str, Any]:
    check_bucket(txn, request.get("ExpectedBucketOwner"))
    state.drop_upload(txn, state.upload(txn, request["Key"], request["UploadId"]))
    return {}


def list_parts(txn: ReadTxn, request: dict[str, Any]) -> dict[str, Any]:
    bucket = check_bucket(txn, request.get("ExpectedBucketOwner"))
    upload = state.upload(txn, request["Key"], request["UploadId"])
    limit, marker = min(request.get("MaxParts") or 1000, 1000), int(request.get("PartNumberMarker") or 0)
    rest = [part for part in state.parts(txn, upload.id) if part.number > marker]
    rows = [
        {
            "PartNumber": part.number,
            "LastModified": part.modified_ms / 1000,
            "ETag": f'"{part.etag}"',
            "Size": part.blob.size_bytes,
            **part.checksums,
        }
        for part in rest[:limit]
    ]
    who = owner(bucket.owner)
    return {
        "Bucket": bucket.name,
        "Key": upload.key,
        "UploadId": upload.id,
        "PartNumberMarker": marker,
        "NextPartNumberMarker": rest[:limit][-1].number if rest else 0,
        "MaxParts": limit,
        "IsTruncated": len(rest) > limit,
        "Parts": rows,
        "Initiator": who,
        "Owner": who,
        "StorageClass": upload.headers.get("StorageClass", "STANDARD"),
    }


def list_multipart_uploads(txn: ReadTxn, request: dict[str, Any]) -> dict[str, Any]:
    bucket = check_bucket(txn, request.get("ExpectedBucketOwner"))
    if request.get("Delimiter"):
        raise OperationNotImplementedError("s3", "ListMultipartUploads", "Delimiter is not honoured.")
    prefix, limit = request.get("Prefix") or "", min(request.get("MaxUploads") or 1000, 1000)
    marker = (request.get("KeyMarker") or "", request.get("UploadIdMarker") or "\U0010ffff")
    rest = [one for one in state.uploads(txn) if one.key.startswith(prefix) and (one.key, one.id) > marker]
    who = owner(bucket.owner)
    rows = [
        {
            "UploadId": one.id,
            "Key": one.key,
            "Initiated": one.started_ms / 1000,
            "StorageClass": one.headers.get("StorageClass", "STANDARD"),
            "Owner": who,
            "Initiator": who,
        }
        for one in rest[:limit]
    ]
    result: dict[str, Any] = {
        "Bucket": bucket.name,
        "KeyMarker": request.get("KeyMarker") or "",
        "UploadIdMarker": request.get("UploadIdMarker") or "",
        "MaxUploads": limit,
        "IsTruncated": len(rest) > limit,
        "Uploads": rows,
    }
    if len(rest) > limit:
        result |= {"NextKeyMarker": rest[limit - 1].key, "NextUploadIdMarker": rest[limit - 1].id}
    return result
