"""IAM's declaration."""

from tule.services.declaration import Coordinate, Operation, Read, Service, Transact
from tule.services.iam.operations import identities, keys, policies
from tule.services.iam.state import shard_of

_WRITES = {
    "CreateUser": identities.create_user,
    "CreateRole": identities.create_role,
    "UpdateRole": identities.update_role,
    "UpdateAssumeRolePolicy": identities.update_assume_role_policy,
    "CreatePolicy": policies.create_policy,
    "DeletePolicy": policies.delete_policy,
    "CreatePolicyVersion": policies.create_policy_version,
    "DeletePolicyVersion": policies.delete_policy_version,
    "SetDefaultPolicyVersion": policies.set_default_policy_version,
    "TagPolicy": policies.tag_policy,
    "UntagPolicy": policies.untag_policy,
    **identities.writes("user"),
    **identities.writes("role"),
}

_READS = {
    "GetUser": identities.get_user,
    "GetRole": identities.get_role,
    "ListUsers": identities.list_users,
    "ListRoles": identities.list_roles,
    "GetPolicy": policies.get_policy,
    "ListPolicies": policies.list_policies,
    "GetPolicyVersion": policies.get_policy_version,
    "ListPolicyVersions": policies.list_policy_versions,
    "ListEntitiesForPolicy": policies.list_entities_for_policy,
    "ListPolicyTags": policies.list_policy_tags,
    "ListAccessKeys": keys.list_access_keys,
    **identities.reads("user"),
    **identities.reads("role"),
}

_OPERATIONS: dict[str, Operation] = {
    **{name: Transact(handler, shard_of) for name, handler in _WRITES.items()},
    **{name: Read(handler, shard_of) for name, handler in _READS.items()},
    "CreateAccessKey": Coordinate(keys.create_access_key),
    "UpdateAccessKey": Coordinate(keys.update_access_key),
    "DeleteAccessKey": Coordinate(keys.delete_access_key),
}

SERVICE = Service(
    name="iam",
    operations=_OPERATIONS,
    start=keys.restore,
    resources="tule.services.iam.cfn",
    coverage={
        "ListPolicies": "AWS's managed policies are attachable by ARN but not listed.",
        "GetPolicy": "AWS's managed policies have no text here.",
    },
)
