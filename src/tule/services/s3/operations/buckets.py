"""Buckets: making, finding, listing, erasing, and the settings they keep."""

import re
from typing import Any, Final

import msgspec

from tule.kernel.context import DEFAULT_REGION, RequestContext
from tule.kernel.errors import OperationNotImplementedError
from tule.services.declaration import Context
from tule.services.s3 import state
from tule.services.s3.errors import invalid_argument, no_such_bucket, refuse
from tule.services.s3.models import MAX_BUCKET_TAGS, MAX_POLICY_BYTES, Bucket
from tule.store.transaction import ReadTxn, ShardKey, Txn

_NAME: Final = re.compile(r"[a-z0-9][a-z0-9.\-]{1,61}[a-z0-9]")
_IP: Final = re.compile(r"\d+\.\d+\.\d+\.\d+")
INTERNAL_AGENT: Final = "tule"
"""The user agent of calls that services make of each other; a stack's bucket is born with its system tags."""
MAX_LISTED: Final = 10_000
"""Buckets of one ListBuckets (API reference)."""


def owner_id(account: str) -> str:
    """A canonical user id made of the account, in AWS's 64 hexadecimal digits."""
    return account.rjust(64, "0")


def owner(account: str) -> dict[str, str]:
    return {"ID": owner_id(account)}


def new_bucket_shard(_context: RequestContext, request: dict[str, Any]) -> ShardKey:
    """The shard of a bucket about to be made: its name must be one."""
    name = request["Bucket"]
    if not _NAME.fullmatch(name) or _IP.fullmatch(name) or ".." in name or name.startswith("xn--"):
        raise refuse("InvalidBucketName", "The specified bucket is not valid.", BucketName=name)
    return state.shard(name)


def create_bucket(txn: Txn, request: dict[str, Any]) -> dict[str, Any]:
    for member in ("GrantFullControl", "GrantRead", "GrantReadACP", "GrantWrite", "GrantWriteACP"):
        if request.get(member):
            raise OperationNotImplementedError("s3", "CreateBucket", f"{member} is not honoured; leave it out.")
    if request.get("ACL", "private") != "private" or request.get("ObjectLockEnabledForBucket"):
        raise OperationNotImplementedError("s3", "CreateBucket", "ACLs other than private and object lock are missing.")
    name, region = request["Bucket"], _region(txn.context, request)
    old = state.find_bucket(txn)
    if old is not None and old.owner != txn.context.account:
        raise refuse(
            "BucketAlreadyExists",
            "The requested bucket name is not available. The bucket namespace is shared by all users of the system. "
            "Please select a different name and try again.",
            409,
            BucketName=name,
        )
    if old is not None and (old.region != DEFAULT_REGION or region != DEFAULT_REGION):
        raise refuse(
            "BucketAlreadyOwnedByYou",
            "Your previous request to create the named bucket succeeded and you already own it.",
            409,
            BucketName=name,
        )
    if old is None:
        configuration = request.get("CreateBucketConfiguration") or {}
        settings: dict[str, Any] = {}
        if request.get("ObjectOwnership"):
            settings["BucketOwnershipControls"] = {"Rules": [{"ObjectOwnership": request["ObjectOwnership"]}]}
        tags = {tag["Key"]: tag["Value"] for tag in configuration.get("Tags") or ()}
        if txn.context.user_agent != INTERNAL_AGENT:
            tags_of(configuration.get("Tags") or [], MAX_BUCKET_TAGS)
        made = Bucket(name, txn.context.account, region, txn.now, tags=tags, configurations=settings)
        state.save_bucket(txn, made)
    return {"Location": f"/{name}" if region == DEFAULT_REGION else f"{txn.context.base_url}/{name}"}


def _region(context: RequestContext, request: dict[str, Any]) -> str:
    wanted = (request.get("CreateBucketConfiguration") or {}).get("LocationConstraint")
    if wanted is None:
        if context.region != DEFAULT_REGION:
            raise refuse(
                "IllegalLocationConstraintException",
                "The unspecified location constraint is incompatible for the region specific endpoint this request was "
                "sent to.",
            )
        return DEFAULT_REGION
    if wanted == DEFAULT_REGION:
        raise refuse(
            "InvalidLocationConstraint",
            "The specified location-constraint is not valid",
            LocationConstraint=wanted,
        )
    if context.region not in (wanted, DEFAULT_REGION):
        raise refuse(
            "IllegalLocationConstraintException",
            f"The {wanted} location constraint is incompatible for the region specific endpoint this request was sent "
            "to.",
        )
    return str(wanted)


def head_bucket(txn: ReadTxn, _request: dict[str, Any]) -> dict[str, Any]:
    found = state.bucket(txn)
    return {"BucketRegion": found.region, "AccessPointAlias": False}


def get_bucket_location(txn: ReadTxn, _request: dict[str, Any]) -> dict[str, Any]:
    region = state.bucket(txn).region
    return {} if region == DEFAULT_REGION else {"LocationConstraint": region}


def delete_bucket(txn: Txn, request: dict[str, Any]) -> dict[str, Any]:
    gone = state.bucket(txn)
    if state.has_versions(txn):
        versioned = gone.versioning != ""
        raise refuse(
            "BucketNotEmpty",
            "The bucket you tried to delete is not empty"
            + (". You must delete all versions in the bucket." if versioned else ""),
            409,
            BucketName=request["Bucket"],
        )
    state.drop_bucket(txn, gone.name)
    return {}


async def list_buckets(ctx: Context, request: dict[str, Any]) -> dict[str, Any]:
    limit, prefix = request.get("MaxBuckets") or MAX_LISTED, request.get("Prefix") or ""
    region, after = request.get("BucketRegion"), request.get("ContinuationToken") or ""
    found: list[Bucket] = []
    while len(found) <= limit:
        entries = await ctx.store.directory("s3", "", "", state.BUCKET_KIND, prefix=prefix, after=after)
        for entry in entries:
            after, one = entry.name, state.decode_bucket(entry.value)
            if one.owner == ctx.request.account and region in (None, one.region):
                found.append(one)
        if len(entries) < 1000:
            break
    rows = [
        {"Name": one.name, "CreationDate": one.created_ms / 1000, "BucketRegion": one.region} for one in found[:limit]
    ]
    result: dict[str, Any] = {"Buckets": rows, "Owner": owner(ctx.request.account)}
    if prefix:
        result["Prefix"] = prefix
    if len(found) > limit:
        result["ContinuationToken"] = found[limit - 1].name
    return result


def put_bucket_versioning(txn: Txn, request: dict[str, Any]) -> dict[str, Any]:
    configuration = request["VersioningConfiguration"]
    status = configuration.get("Status")
    if status not in ("Enabled", "Suspended"):
        raise refuse("IllegalVersioningConfigurationException", "The Versioning element must be specified")
    if configuration.get("MFADelete") == "Enabled":
        raise OperationNotImplementedError("s3", "PutBucketVersioning", "MFADelete is not honoured.")
    state.save_bucket(txn, msgspec.structs.replace(state.bucket(txn), versioning=status))
    return {}


def get_bucket_versioning(txn: ReadTxn, _request: dict[str, Any]) -> dict[str, Any]:
    status = state.bucket(txn).versioning
    return {"Status": status} if status else {}


def put_bucket_policy(txn: Txn, request: dict[str, Any]) -> dict[str, Any]:
    """Stored after a check of its form; nothing evaluates it until there is a policy engine."""
    found, text = state.bucket(txn), request["Policy"]
    if len(text.encode()) > MAX_POLICY_BYTES:
        raise refuse("PolicyTooLarge", f"Policy exceeds the maximum allowed size of {MAX_POLICY_BYTES} bytes")
    try:
        policy = msgspec.json.decode(text)
    except (msgspec.DecodeError, RecursionError) as error:
        raise refuse("MalformedPolicy", "Policies must be valid JSON and the first byte must be '{'") from error
    if not isinstance(policy, dict):
        raise refuse("MalformedPolicy", "Policies must be valid JSON and the first byte must be '{'")
    if not policy.get("Statement"):
        raise refuse("MalformedPolicy", "Missing required field Statement")
    state.save_bucket(txn, msgspec.structs.replace(found, policy=text))
    return {}


def get_bucket_policy(txn: ReadTxn, _request: dict[str, Any]) -> dict[str, Any]:
    found = state.bucket(txn)
    if not found.policy:
        raise refuse("NoSuchBucketPolicy", "The bucket policy does not exist", 404, BucketName=found.name)
    return {"Policy": found.policy}


def delete_bucket_policy(txn: Txn, _request: dict[str, Any]) -> dict[str, Any]:
    state.save_bucket(txn, msgspec.structs.replace(state.bucket(txn), policy=""))
    return {}


def tags_of(rows: list[dict[str, str]], limit: int) -> dict[str, str]:
    """A tag set, checked as S3 checks it."""
    tags: dict[str, str] = {}
    for row in rows:
        key = row["Key"]
        if key in tags:
            raise refuse("InvalidTag", "Cannot provide multiple Tags with the same key", TagKey=key)
        if key.startswith("aws:"):
            raise refuse("InvalidTag", "System tags cannot be added/updated by requester", TagKey=key)
        if not 0 < len(key) <= 128:
            raise refuse("InvalidTag", "The TagKey you have provided is invalid", TagKey=key)
        if len(row["Value"]) > 256:
            raise refuse("InvalidTag", "The TagValue you have provided is invalid", TagKey=key, TagValue=row["Value"])
        tags[key] = row["Value"]
    if len(tags) > limit:
        raise refuse("BadRequest", f"Object tags cannot be greater than {limit}")
    return tags


def put_bucket_tagging(txn: Txn, request: dict[str, Any]) -> dict[str, Any]:
    found = state.bucket(txn)
    tags = {**_system_tags(found), **tags_of(request["Tagging"]["TagSet"], MAX_BUCKET_TAGS)}
    state.save_bucket(txn, msgspec.structs.replace(found, tags=tags))
    return {}


def get_bucket_tagging(txn: ReadTxn, _request: dict[str, Any]) -> dict[str, Any]:
    found = state.bucket(txn)
    if not found.tags:
        raise refuse("NoSuchTagSet", "The TagSet does not exist", 404, BucketName=found.name)
    return {"TagSet": [{"Key": key, "Value": value} for key, value in found.tags.items()]}


def _system_tags(bucket: Bucket) -> dict[str, str]:
    """What AWS services put on a bucket: users can neither write nor remove it."""
    return {key: value for key, value in bucket.tags.items() if key.startswith("aws:")}


def delete_bucket_tagging(txn: Txn, _request: dict[str, Any]) -> dict[str, Any]:
    found = state.bucket(txn)
    state.save_bucket(txn, msgspec.structs.replace(found, tags=_system_tags(found)))
    return {}


def get_bucket_acl(txn: ReadTxn, _request: dict[str, Any]) -> dict[str, Any]:
    """Private: the owner has full control. There are no other ACLs here."""
    who = owner(state.bucket(txn).owner)
    grant = {"Grantee": {**who, "Type": "CanonicalUser"}, "Permission": "FULL_CONTROL"}
    return {"Owner": who, "Grants": [grant]}


class Setting(msgspec.Struct, frozen=True):
    """A configuration that a bucket keeps as it was given: its three operations differ in names only."""

    name: str
    request_member: str
    missing_code: str
    missing_message: str

    def put(self, txn: Txn, request: dict[str, Any]) -> dict[str, Any]:
        found = state.bucket(txn)
        kept = {**found.configurations, self.name: request[self.request_member]}
        state.save_bucket(txn, msgspec.structs.replace(found, configurations=kept))
        return {}

    def get(self, txn: ReadTxn, _request: dict[str, Any]) -> dict[str, Any]:
        found = state.bucket(txn)
        if self.name not in found.configurations:
            raise refuse(self.missing_code, self.missing_message, 404, BucketName=found.name)
        return {self.request_member: found.configurations[self.name]}

    def delete(self, txn: Txn, _request: dict[str, Any]) -> dict[str, Any]:
        found = state.bucket(txn)
        kept = {name: value for name, value in found.configurations.items() if name != self.name}
        state.save_bucket(txn, msgspec.structs.replace(found, configurations=kept))
        return {}


PUBLIC_ACCESS: Final = Setting(
    "PublicAccessBlock",
    "PublicAccessBlockConfiguration",
    "NoSuchPublicAccessBlockConfiguration",
    "The public access block configuration was not found",
)
OWNERSHIP: Final = Setting(
    "BucketOwnershipControls",
    "OwnershipControls",
    "OwnershipControlsNotFoundError",
    "The bucket ownership controls were not found",
)
ENCRYPTION: Final = Setting(
    "BucketEncryption",
    "ServerSideEncryptionConfiguration",
    "ServerSideEncryptionConfigurationNotFoundError",
    "The server side encryption configuration was not found",
)


def put_encryption(txn: Txn, request: dict[str, Any]) -> dict[str, Any]:
    """Encryption by a key of AWS's own is a statement about AWS's disks and is kept as a setting (the SAM CLI's bucket
    asks for aws:kms); a key that the caller names would be a promise that nothing here holds."""
    for rule in request["ServerSideEncryptionConfiguration"].get("Rules") or ():
        asked = rule.get("ApplyServerSideEncryptionByDefault") or {}
        algorithm = asked.get("SSEAlgorithm")
        if algorithm not in (None, "AES256", "aws:kms"):
            raise OperationNotImplementedError("s3", "PutBucketEncryption", f"{algorithm} is not honoured; use AES256.")
        if asked.get("KMSMasterKeyID"):
            raise OperationNotImplementedError(
                "s3", "PutBucketEncryption", "KMSMasterKeyID is not honoured; leave it out."
            )
    return ENCRYPTION.put(txn, request)


def check_bucket(txn: ReadTxn, expected_owner: str | None) -> Bucket:
    """The bucket, if it belongs to whom the caller expects."""
    found = state.find_bucket(txn)
    if found is None:
        raise no_such_bucket(txn.shard.name)
    if expected_owner is None:
        return found
    if not (len(expected_owner) == 12 and expected_owner.isdigit()):
        raise invalid_argument(
            f"The value of the expected bucket owner parameter must be an AWS Account ID... [{expected_owner}]",
            "x-amz-expected-bucket-owner",
            expected_owner,
        )
    if expected_owner != found.owner:
        raise refuse("AccessDenied", "Access Denied", 403)
    return found
