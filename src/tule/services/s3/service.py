"""S3's declaration."""

from tule.services.declaration import Coordinate, Operation, Read, Service, Transact
from tule.services.s3.operations import buckets, listing, multipart, objects
from tule.services.s3.state import shard_of

_WRITES = {
    "DeleteBucket": buckets.delete_bucket,
    "PutBucketVersioning": buckets.put_bucket_versioning,
    "PutBucketPolicy": buckets.put_bucket_policy,
    "DeleteBucketPolicy": buckets.delete_bucket_policy,
    "PutBucketTagging": buckets.put_bucket_tagging,
    "DeleteBucketTagging": buckets.delete_bucket_tagging,
    "PutPublicAccessBlock": buckets.PUBLIC_ACCESS.put,
    "DeletePublicAccessBlock": buckets.PUBLIC_ACCESS.delete,
    "PutBucketOwnershipControls": buckets.OWNERSHIP.put,
    "DeleteBucketOwnershipControls": buckets.OWNERSHIP.delete,
    "PutBucketEncryption": buckets.put_encryption,
    "DeleteBucketEncryption": buckets.ENCRYPTION.delete,
    "DeleteObject": objects.delete_object,
    "DeleteObjects": objects.delete_objects,
    "PutObjectTagging": objects.put_object_tagging,
    "DeleteObjectTagging": objects.delete_object_tagging,
    "CreateMultipartUpload": multipart.create_multipart_upload,
    "CompleteMultipartUpload": multipart.complete_multipart_upload,
    "AbortMultipartUpload": multipart.abort_multipart_upload,
}

_READS = {
    "HeadBucket": buckets.head_bucket,
    "GetBucketLocation": buckets.get_bucket_location,
    "GetBucketVersioning": buckets.get_bucket_versioning,
    "GetBucketPolicy": buckets.get_bucket_policy,
    "GetBucketTagging": buckets.get_bucket_tagging,
    "GetBucketAcl": buckets.get_bucket_acl,
    "GetPublicAccessBlock": buckets.PUBLIC_ACCESS.get,
    "GetBucketOwnershipControls": buckets.OWNERSHIP.get,
    "GetBucketEncryption": buckets.ENCRYPTION.get,
    "ListObjects": listing.list_objects,
    "ListObjectsV2": listing.list_objects_v2,
    "ListObjectVersions": listing.list_object_versions,
    "GetObjectTagging": objects.get_object_tagging,
    "ListParts": multipart.list_parts,
    "ListMultipartUploads": multipart.list_multipart_uploads,
}

_OPERATIONS: dict[str, Operation] = {
    "CreateBucket": Transact(buckets.create_bucket, buckets.new_bucket_shard),
    "ListBuckets": Coordinate(buckets.list_buckets),
    "PutObject": Coordinate(objects.put_object),
    "GetObject": Coordinate(objects.get_object),
    "HeadObject": Coordinate(objects.head_object),
    "CopyObject": Coordinate(objects.copy_object),
    "UploadPart": Coordinate(multipart.upload_part),
    **{name: Transact(handler, shard_of) for name, handler in _WRITES.items()},
    **{name: Read(handler, shard_of) for name, handler in _READS.items()},
}

SERVICE = Service(
    name="s3",
    operations=_OPERATIONS,
    resources="tule.services.s3.cfn",
    coverage={
        "PutBucketPolicy": "Stored, not evaluated.",
        "PutBucketEncryption": "AES256, and aws:kms without a key, are kept as a setting; Tule does not encrypt files.",
        "CreateMultipartUpload": "Composite checksums only.",
    },
)
