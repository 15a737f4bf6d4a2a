"""Customer-managed policies and their versions."""

from typing import Any

import msgspec

from tule.services.iam import state
from tule.services.iam.documents import check_identity_policy, check_size
from tule.services.iam.errors import (
    DeleteConflictError,
    EntityAlreadyExistsError,
    LimitExceededError,
    NoSuchEntityError,
)
from tule.services.iam.models import MAX_POLICY_CHARACTERS, MAX_POLICY_VERSIONS, Identity, Policy, PolicyVersion
from tule.services.iam.views import page, policy_view, tag_list, tags_of, version_view, without_tags
from tule.store.transaction import ReadTxn, Txn


def create_policy(txn: Txn, request: dict[str, Any]) -> dict[str, Any]:
    _check_document(request["PolicyDocument"])
    name, path, context = request["PolicyName"], request.get("Path") or "/", txn.context
    arn = f"arn:{context.partition}:iam::{context.account}:policy{path}{name}"
    if state.has_policy(txn, arn):
        raise EntityAlreadyExistsError(
            f"A policy called {name} already exists. Duplicate names are not allowed.",
        )
    created = Policy(
        name=name,
        path=path,
        id=state.mint_id(txn, "ANPA"),
        arn=arn,
        created_ms=txn.now,
        updated_ms=txn.now,
        versions=(PolicyVersion(1, request["PolicyDocument"], txn.now),),
        default="v1",
        last_number=1,
        description=request.get("Description") or "",
        tags=tags_of(request),
    )
    state.save_policy(txn, created)
    return {"Policy": policy_view(created, 0, 0)}


def get_policy(txn: ReadTxn, request: dict[str, Any]) -> dict[str, Any]:
    found = state.policy(txn, request["PolicyArn"])
    return {"Policy": policy_view(found, len(_attached_to(txn, found.arn)), len(_bounded_by(txn, found.arn)))}


def list_policies(txn: ReadTxn, request: dict[str, Any]) -> dict[str, Any]:
    """The account's own; AWS's managed policies are attachable by ARN but not listed (see README)."""
    found = [] if request.get("Scope") == "AWS" else state.policies(txn, request.get("PathPrefix") or "/")
    rows = []
    for one in found:
        attachments = len(_attached_to(txn, one.arn))
        if attachments or not request.get("OnlyAttached"):
            rows.append(policy_view(one, attachments, len(_bounded_by(txn, one.arn)), full=False))
    return page(request, "Policies", rows)


def delete_policy(txn: Txn, request: dict[str, Any]) -> dict[str, Any]:
    gone = state.policy(txn, request["PolicyArn"])
    if _attached_to(txn, gone.arn) or _bounded_by(txn, gone.arn):
        raise DeleteConflictError("Cannot delete a policy attached to entities.")
    if len(gone.versions) > 1:
        raise DeleteConflictError(
            "This policy has more than one version. Before you delete a policy, you must delete the policy's versions. "
            "The default version is deleted with the policy.",
        )
    state.drop_policy(txn, gone.arn)
    return {}


def create_policy_version(txn: Txn, request: dict[str, Any]) -> dict[str, Any]:
    _check_document(request["PolicyDocument"])
    old = state.policy(txn, request["PolicyArn"])
    if len(old.versions) >= MAX_POLICY_VERSIONS:
        raise LimitExceededError(
            "A managed policy can have up to 5 versions. Before you create a new version, you must delete an existing "
            "version.",
        )
    version = PolicyVersion(old.last_number + 1, request["PolicyDocument"], txn.now)
    changed = msgspec.structs.replace(
        old,
        versions=(*old.versions, version),
        last_number=version.number,
        default=version.id if request.get("SetAsDefault") else old.default,
        updated_ms=txn.now,
    )
    state.save_policy(txn, changed)
    return {"PolicyVersion": version_view(changed, version)}


def get_policy_version(txn: ReadTxn, request: dict[str, Any]) -> dict[str, Any]:
    policy = state.policy(txn, request["PolicyArn"])
    return {"PolicyVersion": version_view(policy, _version(policy, request["VersionId"]), with_document=True)}


def list_policy_versions(txn: ReadTxn, request: dict[str, Any]) -> dict[str, Any]:
    policy = state.policy(txn, request["PolicyArn"])
    return page(request, "Versions", [version_view(policy, version) for version in reversed(policy.versions)])


def delete_policy_version(txn: Txn, request: dict[str, Any]) -> dict[str, Any]:
    policy = state.policy(txn, request["PolicyArn"])
    gone = _version(policy, request["VersionId"])
    if gone.id == policy.default:
        raise DeleteConflictError("Cannot delete the default version of a policy.")
    rest = tuple(version for version in policy.versions if version is not gone)
    state.save_policy(txn, msgspec.structs.replace(policy, versions=rest, updated_ms=txn.now))
    return {}


def set_default_policy_version(txn: Txn, request: dict[str, Any]) -> dict[str, Any]:
    policy = state.policy(txn, request["PolicyArn"])
    chosen = _version(policy, request["VersionId"])
    state.save_policy(txn, msgspec.structs.replace(policy, default=chosen.id, updated_ms=txn.now))
    return {}


def list_entities_for_policy(txn: ReadTxn, request: dict[str, Any]) -> dict[str, Any]:
    found = _attached_to(txn, request["PolicyArn"])
    users = [{"UserName": one.name, "UserId": one.id} for one in found if one.kind == "user"]
    roles = [{"RoleName": one.name, "RoleId": one.id} for one in found if one.kind == "role"]
    return {"PolicyGroups": [], "PolicyUsers": users, "PolicyRoles": roles, "IsTruncated": False}


def tag_policy(txn: Txn, request: dict[str, Any]) -> dict[str, Any]:
    policy = state.policy(txn, request["PolicyArn"])
    state.save_policy(txn, msgspec.structs.replace(policy, tags=tags_of(request, policy.tags)))
    return {}


def untag_policy(txn: Txn, request: dict[str, Any]) -> dict[str, Any]:
    policy = state.policy(txn, request["PolicyArn"])
    state.save_policy(txn, msgspec.structs.replace(policy, tags=without_tags(policy.tags, request["TagKeys"])))
    return {}


def list_policy_tags(txn: ReadTxn, request: dict[str, Any]) -> dict[str, Any]:
    return page(request, "Tags", tag_list(state.policy(txn, request["PolicyArn"]).tags))


def _check_document(document: str) -> None:
    check_identity_policy(document)
    check_size(document, MAX_POLICY_CHARACTERS, "PolicySize")


def _version(policy: Policy, version_id: str) -> PolicyVersion:
    version = policy.version(version_id)
    if version is None:
        raise NoSuchEntityError(
            f"Policy {policy.arn} version {version_id} does not exist or is not attachable.",
        )
    return version


def _identities(txn: ReadTxn) -> list[Identity]:
    return state.identities(txn, "user") + state.identities(txn, "role")


def _attached_to(txn: ReadTxn, arn: str) -> list[Identity]:
    return [one for one in _identities(txn) if arn in one.attached]


def _bounded_by(txn: ReadTxn, arn: str) -> list[Identity]:
    return [one for one in _identities(txn) if one.boundary == arn]
