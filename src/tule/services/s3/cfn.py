"""AWS::S3::Bucket and AWS::S3::BucketPolicy."""

from collections.abc import Mapping
from typing import Any, Final

import msgspec

from tule.kernel.context import DEFAULT_REGION
from tule.kernel.errors import AwsError
from tule.services.declaration import Context
from tule.services.resources import ResourceRequest, ResourceState, ResourceType


def _bucket_name(request: ResourceRequest) -> str:
    return str(request.properties.get("BucketName") or request.physical_name(63).lower())


async def _create(ctx: Context, request: ResourceRequest) -> ResourceState:
    name, region = _bucket_name(request), ctx.request.region
    if not await _is_there(ctx, request, name):
        marks = [{"Key": key, "Value": value} for key, value in _system_tags(request).items()]
        where: dict[str, Any] = {"Tags": marks}
        if region != DEFAULT_REGION:
            where["LocationConstraint"] = region
        await ctx.aws.s3.create_bucket(Bucket=name, CreateBucketConfiguration=where)
    return await _configure(ctx, request, name, {})


def _system_tags(request: ResourceRequest) -> dict[str, str]:
    """AWS's own marks, by which an attempt that was cut short knows its bucket again."""
    return {key: value for key, value in request.tags.items() if key.startswith("aws:")}


async def _is_there(ctx: Context, request: ResourceRequest, name: str) -> bool:
    """Whether an earlier attempt made this bucket; refuses one that anybody else made."""
    try:
        found = await ctx.aws.s3.get_bucket_tagging(Bucket=name)
    except AwsError as error:
        if error.error_code == "NoSuchBucket":
            return False
        if error.error_code != "NoSuchTagSet":
            raise
        found = {"TagSet": []}
    tags = {tag["Key"]: tag["Value"] for tag in found["TagSet"]}
    wanted = _system_tags(request)
    if not wanted or any(tags.get(key) != value for key, value in wanted.items()):
        raise AwsError(f"{name} already exists", code="AlreadyExists", status=409)
    return True


async def _update(ctx: Context, request: ResourceRequest, old: Mapping[str, Any], physical_id: str) -> ResourceState:
    return await _configure(ctx, request, physical_id, old)


async def _configure(ctx: Context, request: ResourceRequest, name: str, old: Mapping[str, Any]) -> ResourceState:
    properties, s3 = request.properties, ctx.aws.s3
    versioning = (properties.get("VersioningConfiguration") or {}).get("Status")
    if versioning is None and "VersioningConfiguration" in old:
        versioning = "Suspended"
    if versioning is not None:
        await s3.put_bucket_versioning(Bucket=name, VersioningConfiguration={"Status": versioning})
    await _tag(ctx, request, name)
    if "PublicAccessBlockConfiguration" in properties:
        wanted = {key: value in (True, "true") for key, value in properties["PublicAccessBlockConfiguration"].items()}
        await s3.put_public_access_block(Bucket=name, PublicAccessBlockConfiguration=wanted)
    elif "PublicAccessBlockConfiguration" in old:
        await s3.delete_public_access_block(Bucket=name)
    if "OwnershipControls" in properties:
        await s3.put_bucket_ownership_controls(Bucket=name, OwnershipControls=properties["OwnershipControls"])
    elif "OwnershipControls" in old:
        await s3.delete_bucket_ownership_controls(Bucket=name)
    await _encrypt(ctx, properties, old, name)
    region = ctx.request.region
    attributes = {
        "Arn": f"arn:{ctx.request.partition}:s3:::{name}",
        "DomainName": f"{name}.s3.amazonaws.com",
        "RegionalDomainName": f"{name}.s3.{region}.amazonaws.com",
    }
    return ResourceState(name, attributes)


async def _tag(ctx: Context, request: ResourceRequest, name: str) -> None:
    own = {tag["Key"]: str(tag["Value"]) for tag in request.properties.get("Tags") or ()}
    tags = {**{key: value for key, value in request.tags.items() if not key.startswith("aws:")}, **own}
    if tags:
        rows = [{"Key": key, "Value": value} for key, value in tags.items()]
        await ctx.aws.s3.put_bucket_tagging(Bucket=name, Tagging={"TagSet": rows})
    else:
        await ctx.aws.s3.delete_bucket_tagging(Bucket=name)


async def _encrypt(ctx: Context, properties: Mapping[str, Any], old: Mapping[str, Any], name: str) -> None:
    if "BucketEncryption" in properties:
        rules = [
            {
                "ApplyServerSideEncryptionByDefault": rule["ServerSideEncryptionByDefault"],
                "BucketKeyEnabled": rule.get("BucketKeyEnabled") in (True, "true"),
            }
            for rule in properties["BucketEncryption"]["ServerSideEncryptionConfiguration"]
        ]
        await ctx.aws.s3.put_bucket_encryption(Bucket=name, ServerSideEncryptionConfiguration={"Rules": rules})
    elif "BucketEncryption" in old:
        await ctx.aws.s3.delete_bucket_encryption(Bucket=name)


async def _delete(ctx: Context, _request: ResourceRequest, physical_id: str) -> None:
    try:
        await ctx.aws.s3.delete_bucket(Bucket=physical_id)
    except AwsError as error:
        if error.error_code != "NoSuchBucket":
            raise


async def _put_policy(ctx: Context, request: ResourceRequest) -> ResourceState:
    bucket, document = request.properties["Bucket"], request.properties["PolicyDocument"]
    text = document if isinstance(document, str) else msgspec.json.encode(document).decode()
    await ctx.aws.s3.put_bucket_policy(Bucket=bucket, Policy=text)
    return ResourceState(bucket)


async def _update_policy(
    ctx: Context, request: ResourceRequest, _old: Mapping[str, Any], _physical_id: str
) -> ResourceState:
    return await _put_policy(ctx, request)


async def _delete_policy(ctx: Context, _request: ResourceRequest, physical_id: str) -> None:
    try:
        await ctx.aws.s3.delete_bucket_policy(Bucket=physical_id)
    except AwsError as error:
        if error.error_code != "NoSuchBucket":
            raise


RESOURCES: Final[Mapping[str, ResourceType]] = {
    "AWS::S3::Bucket": ResourceType(
        name="AWS::S3::Bucket",
        properties=frozenset(
            {
                "BucketEncryption",
                "BucketName",
                "OwnershipControls",
                "PublicAccessBlockConfiguration",
                "Tags",
                "VersioningConfiguration",
            }
        ),
        replace_on=frozenset({"BucketName"}),
        create=_create,
        update=_update,
        delete=_delete,
    ),
    "AWS::S3::BucketPolicy": ResourceType(
        name="AWS::S3::BucketPolicy",
        properties=frozenset({"Bucket", "PolicyDocument"}),
        required=frozenset({"Bucket", "PolicyDocument"}),
        replace_on=frozenset({"Bucket"}),
        create=_put_policy,
        update=_update_policy,
        delete=_delete_policy,
    ),
}
