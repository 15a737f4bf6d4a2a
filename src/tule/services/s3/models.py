"""What S3 keeps, and its limits."""

from typing import Any, Final

import msgspec

INLINE_BYTES: Final = 128 * 1024
"""Smaller objects lie in the store beside their record; from here on they are files (the store's design)."""
MAX_KEY_BYTES: Final = 1_024
"""The longest object key in UTF-8 (S3 User Guide, "Naming Amazon S3 objects")."""
MAX_METADATA_BYTES: Final = 2_048
"""User-defined metadata of one object (S3 User Guide, "Working with object metadata")."""
MAX_LIST_KEYS: Final = 1_000
"""Keys of one page, of one DeleteObjects (API reference)."""
MIN_PART_BYTES: Final = 5 * 1024 * 1024
"""Every part of a multipart upload but the last (S3 User Guide, "Multipart upload limits")."""
MAX_PARTS: Final = 10_000
"""Parts of a multipart upload (S3 User Guide, "Multipart upload limits")."""
MAX_BUCKET_TAGS: Final = 50
"""Tags of a bucket (S3 User Guide)."""
MAX_OBJECT_TAGS: Final = 10
"""Tags of an object (S3 User Guide)."""
MAX_POLICY_BYTES: Final = 20 * 1024
"""A bucket policy (S3 User Guide)."""

NULL_VERSION: Final = "null"


class Bucket(msgspec.Struct, frozen=True):
    """A bucket: one shard. Configurations are kept as the model's own structures."""

    name: str
    owner: str
    region: str
    created_ms: int
    versioning: str = ""
    """"", "Enabled" or "Suspended"."""
    policy: str = ""
    tags: dict[str, str] = {}
    configurations: dict[str, Any] = {}
    """By operation noun: PublicAccessBlock, BucketEncryption, BucketOwnershipControls."""


class Blob(msgspec.Struct, frozen=True, array_like=True):
    """A stretch of an object's bytes in the blob store."""

    sha256: str
    size_bytes: int


class ObjectVersion(msgspec.Struct, frozen=True):
    """One version of one object, or the marker that says it was deleted."""

    key: str
    version_id: str
    order: int
    """Larger for later versions; the store's own number."""
    modified_ms: int
    etag: str = ""
    size_bytes: int = 0
    delete_marker: bool = False
    inline: bool = False
    """The bytes lie in the store under the version's `order`."""
    blobs: tuple[Blob, ...] = ()
    parts: tuple[int, ...] = ()
    """Sizes of the parts of a multipart upload."""
    headers: dict[str, str] = {}
    """ContentType, CacheControl and the like, by member name."""
    metadata: dict[str, str] = {}
    tags: dict[str, str] = {}
    checksums: dict[str, str] = {}
    """By member name (ChecksumCRC32, ...); with ChecksumType."""


class Upload(msgspec.Struct, frozen=True):
    """A multipart upload that has begun."""

    id: str
    key: str
    started_ms: int
    headers: dict[str, str] = {}
    metadata: dict[str, str] = {}
    tags: dict[str, str] = {}
    checksum_algorithm: str = ""
    checksum_type: str = ""


class Part(msgspec.Struct, frozen=True):
    """One uploaded part."""

    number: int
    etag: str
    modified_ms: int
    blob: Blob
    checksums: dict[str, str] = {}
