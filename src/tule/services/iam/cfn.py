"""AWS::IAM::Role, AWS::IAM::Policy and AWS::IAM::ManagedPolicy."""

from collections.abc import Iterable, Mapping
from typing import Any, Final

import msgspec

from tule.kernel.errors import AwsError
from tule.services.declaration import Context
from tule.services.resources import ResourceRequest, ResourceState, ResourceType

_MISSING: Final = "NoSuchEntityException"
_EXISTS: Final = "EntityAlreadyExistsException"


def _json(document: Any) -> str:
    return document if isinstance(document, str) else msgspec.json.encode(document).decode()


def _tags(request: ResourceRequest) -> list[dict[str, str]]:
    own = {tag["Key"]: tag["Value"] for tag in request.properties.get("Tags") or ()}
    # IAM refuses tags that begin with aws:, so the stack's own marks stay off roles, as on AWS.
    merged = {**{key: value for key, value in request.tags.items() if not key.startswith("aws:")}, **own}
    return [{"Key": key, "Value": str(value)} for key, value in merged.items()]


async def _ignoring(code: str, call: Any) -> dict[str, Any] | None:
    """The answer of `call`, or None if it was refused with `code`: what makes a step repeatable."""
    try:
        answer: dict[str, Any] = await call
    except AwsError as error:
        if error.error_code != code:
            raise
        return None
    return answer


def _role_name(request: ResourceRequest) -> str:
    return str(request.properties.get("RoleName") or request.physical_name(64))


async def _sync_role(ctx: Context, name: str, properties: Mapping[str, Any], old: Mapping[str, Any]) -> None:
    iam = ctx.aws.iam
    wanted = {policy["PolicyName"]: _json(policy["PolicyDocument"]) for policy in properties.get("Policies") or ()}
    for policy in {policy["PolicyName"] for policy in old.get("Policies") or ()} - set(wanted):
        await _ignoring(_MISSING, iam.delete_role_policy(RoleName=name, PolicyName=policy))
    for policy, document in wanted.items():
        await iam.put_role_policy(RoleName=name, PolicyName=policy, PolicyDocument=document)
    attached = list(properties.get("ManagedPolicyArns") or ())
    for arn in set(old.get("ManagedPolicyArns") or ()) - set(attached):
        await _ignoring(_MISSING, iam.detach_role_policy(RoleName=name, PolicyArn=arn))
    for arn in attached:
        await iam.attach_role_policy(RoleName=name, PolicyArn=arn)


async def _create_role(ctx: Context, request: ResourceRequest) -> ResourceState:
    properties, name = request.properties, _role_name(request)
    parameters: dict[str, Any] = {
        "RoleName": name,
        "AssumeRolePolicyDocument": _json(properties["AssumeRolePolicyDocument"]),
        "Tags": _tags(request),
    }
    for member in ("Path", "Description", "MaxSessionDuration", "PermissionsBoundary"):
        if member in properties:
            parameters[member] = properties[member]
    if "MaxSessionDuration" in parameters:
        parameters["MaxSessionDuration"] = int(parameters["MaxSessionDuration"])
    if "RoleName" in properties:
        await ctx.aws.iam.create_role(**parameters)
    else:
        await _ignoring(_EXISTS, ctx.aws.iam.create_role(**parameters))
    await _sync_role(ctx, name, properties, {})
    return await _role_state(ctx, name)


async def _role_state(ctx: Context, name: str) -> ResourceState:
    role = (await ctx.aws.iam.get_role(RoleName=name))["Role"]
    return ResourceState(name, {"Arn": role["Arn"], "RoleId": role["RoleId"]})


async def _update_role(
    ctx: Context, request: ResourceRequest, old: Mapping[str, Any], physical_id: str
) -> ResourceState:
    properties, iam = request.properties, ctx.aws.iam
    await iam.update_assume_role_policy(
        RoleName=physical_id, PolicyDocument=_json(properties["AssumeRolePolicyDocument"])
    )
    await iam.update_role(
        RoleName=physical_id,
        Description=properties.get("Description", ""),
        MaxSessionDuration=int(properties.get("MaxSessionDuration", 3600)),
    )
    if "PermissionsBoundary" in properties:
        await iam.put_role_permissions_boundary(
            RoleName=physical_id, PermissionsBoundary=properties["PermissionsBoundary"]
        )
    elif "PermissionsBoundary" in old:
        await _ignoring(_MISSING, iam.delete_role_permissions_boundary(RoleName=physical_id))
    kept = _tags(request)
    gone = [tag["Key"] for tag in old.get("Tags") or () if tag["Key"] not in {one["Key"] for one in kept}]
    if gone:
        await iam.untag_role(RoleName=physical_id, TagKeys=gone)
    if kept:
        await iam.tag_role(RoleName=physical_id, Tags=kept)
    await _sync_role(ctx, physical_id, properties, old)
    return await _role_state(ctx, physical_id)


async def _delete_role(ctx: Context, _request: ResourceRequest, physical_id: str) -> None:
    iam = ctx.aws.iam
    attached = await _ignoring(_MISSING, iam.list_attached_role_policies(RoleName=physical_id))
    if attached is None:
        return
    for policy in attached["AttachedPolicies"]:
        await iam.detach_role_policy(RoleName=physical_id, PolicyArn=policy["PolicyArn"])
    for policy in (await iam.list_role_policies(RoleName=physical_id))["PolicyNames"]:
        await iam.delete_role_policy(RoleName=physical_id, PolicyName=policy)
    await _ignoring(_MISSING, iam.delete_role(RoleName=physical_id))


async def _put_policy(ctx: Context, request: ResourceRequest, old: Mapping[str, Any]) -> ResourceState:
    properties, iam = request.properties, ctx.aws.iam
    name, document = properties["PolicyName"], _json(properties["PolicyDocument"])
    roles, users = properties.get("Roles") or [], properties.get("Users") or []
    for role in roles:
        await iam.put_role_policy(RoleName=role, PolicyName=name, PolicyDocument=document)
    for user in users:
        await iam.put_user_policy(UserName=user, PolicyName=name, PolicyDocument=document)
    for role in _gone(old.get("Roles"), roles):
        await _ignoring(_MISSING, iam.delete_role_policy(RoleName=role, PolicyName=name))
    for user in _gone(old.get("Users"), users):
        await _ignoring(_MISSING, iam.delete_user_policy(UserName=user, PolicyName=name))
    return ResourceState(request.physical_name(128), {"Id": name})


def _gone(old: Iterable[str] | None, new: Iterable[str]) -> set[str]:
    return set(old or ()) - set(new)


async def _create_policy(ctx: Context, request: ResourceRequest) -> ResourceState:
    return await _put_policy(ctx, request, {})


async def _update_policy(
    ctx: Context, request: ResourceRequest, old: Mapping[str, Any], physical_id: str
) -> ResourceState:
    changed = await _put_policy(ctx, request, old)
    return ResourceState(physical_id, changed.attributes)


async def _delete_policy(ctx: Context, request: ResourceRequest, _physical_id: str) -> None:
    properties, iam = request.properties, ctx.aws.iam
    name = properties["PolicyName"]
    for role in properties.get("Roles") or ():
        await _ignoring(_MISSING, iam.delete_role_policy(RoleName=role, PolicyName=name))
    for user in properties.get("Users") or ():
        await _ignoring(_MISSING, iam.delete_user_policy(UserName=user, PolicyName=name))


async def _create_managed(ctx: Context, request: ResourceRequest) -> ResourceState:
    properties, iam = request.properties, ctx.aws.iam
    name, path = properties.get("ManagedPolicyName") or request.physical_name(128), properties.get("Path") or "/"
    arn = f"arn:{ctx.request.partition}:iam::{ctx.request.account}:policy{path}{name}"
    created = iam.create_policy(
        PolicyName=name,
        Path=path,
        PolicyDocument=_json(properties["PolicyDocument"]),
        Description=properties.get("Description", ""),
    )
    if "ManagedPolicyName" in properties:
        await created
    else:
        await _ignoring(_EXISTS, created)
    await _attach_managed(ctx, arn, properties, {})
    return ResourceState(arn, {"PolicyArn": arn})


async def _attach_managed(ctx: Context, arn: str, properties: Mapping[str, Any], old: Mapping[str, Any]) -> None:
    iam = ctx.aws.iam
    for role in properties.get("Roles") or ():
        await iam.attach_role_policy(RoleName=role, PolicyArn=arn)
    for user in properties.get("Users") or ():
        await iam.attach_user_policy(UserName=user, PolicyArn=arn)
    for role in _gone(old.get("Roles"), properties.get("Roles") or ()):
        await _ignoring(_MISSING, iam.detach_role_policy(RoleName=role, PolicyArn=arn))
    for user in _gone(old.get("Users"), properties.get("Users") or ()):
        await _ignoring(_MISSING, iam.detach_user_policy(UserName=user, PolicyArn=arn))


async def _update_managed(
    ctx: Context, request: ResourceRequest, old: Mapping[str, Any], physical_id: str
) -> ResourceState:
    iam, document = ctx.aws.iam, _json(request.properties["PolicyDocument"])
    if document != _json(old["PolicyDocument"]):
        versions = (await iam.list_policy_versions(PolicyArn=physical_id))["Versions"]
        if len(versions) >= 5:
            oldest = [one for one in versions if not one["IsDefaultVersion"]][-1]
            await iam.delete_policy_version(PolicyArn=physical_id, VersionId=oldest["VersionId"])
        await iam.create_policy_version(PolicyArn=physical_id, PolicyDocument=document, SetAsDefault=True)
    await _attach_managed(ctx, physical_id, request.properties, old)
    return ResourceState(physical_id, {"PolicyArn": physical_id})


async def _delete_managed(ctx: Context, _request: ResourceRequest, physical_id: str) -> None:
    iam = ctx.aws.iam
    versions = await _ignoring(_MISSING, iam.list_policy_versions(PolicyArn=physical_id))
    if versions is None:
        return
    entities = await iam.list_entities_for_policy(PolicyArn=physical_id)
    for role in entities["PolicyRoles"]:
        await iam.detach_role_policy(RoleName=role["RoleName"], PolicyArn=physical_id)
    for user in entities["PolicyUsers"]:
        await iam.detach_user_policy(UserName=user["UserName"], PolicyArn=physical_id)
    for version in versions["Versions"]:
        if not version["IsDefaultVersion"]:
            await iam.delete_policy_version(PolicyArn=physical_id, VersionId=version["VersionId"])
    await _ignoring(_MISSING, iam.delete_policy(PolicyArn=physical_id))


RESOURCES: Final[Mapping[str, ResourceType]] = {
    "AWS::IAM::Role": ResourceType(
        name="AWS::IAM::Role",
        properties=frozenset(
            {
                "AssumeRolePolicyDocument",
                "Description",
                "ManagedPolicyArns",
                "MaxSessionDuration",
                "Path",
                "PermissionsBoundary",
                "Policies",
                "RoleName",
                "Tags",
            }
        ),
        required=frozenset({"AssumeRolePolicyDocument"}),
        replace_on=frozenset({"RoleName", "Path"}),
        create=_create_role,
        update=_update_role,
        delete=_delete_role,
    ),
    "AWS::IAM::Policy": ResourceType(
        name="AWS::IAM::Policy",
        properties=frozenset({"PolicyDocument", "PolicyName", "Roles", "Users"}),
        required=frozenset({"PolicyDocument", "PolicyName"}),
        replace_on=frozenset({"PolicyName"}),
        create=_create_policy,
        update=_update_policy,
        delete=_delete_policy,
    ),
    "AWS::IAM::ManagedPolicy": ResourceType(
        name="AWS::IAM::ManagedPolicy",
        properties=frozenset({"Description", "ManagedPolicyName", "Path", "PolicyDocument", "Roles", "Users"}),
        required=frozenset({"PolicyDocument"}),
        replace_on=frozenset({"Description", "ManagedPolicyName", "Path"}),
        create=_create_managed,
        update=_update_managed,
        delete=_delete_managed,
    ),
}
