"""IAM's answers: stored things in the shapes of the model, lists in pages."""

import base64
from collections.abc import Mapping, Sequence
from typing import Any, Final

from tule.services.iam.documents import encoded
from tule.services.iam.errors import InvalidInputError, LimitExceededError, ValidationError
from tule.services.iam.models import MAX_TAGS, Identity, Policy, PolicyVersion, StoredKey

DEFAULT_PAGE: Final = 100
"""MaxItems where the caller gives none (every IAM list operation's documentation)."""


def tag_list(tags: Mapping[str, str]) -> list[dict[str, str]]:
    return [{"Key": key, "Value": value} for key, value in tags.items()]


def tags_of(request: Mapping[str, Any], old: Mapping[str, str] | None = None) -> dict[str, str]:
    """The request's tags over `old`; keys are unique regardless of case."""
    tags = dict(old or {})
    seen: set[str] = set()
    for tag in request.get("Tags") or ():
        key = tag["Key"]
        if key.lower() in seen:
            raise InvalidInputError("Duplicate tag keys found. Please note that Tag keys are case insensitive.")
        seen.add(key.lower())
        tags = {name: value for name, value in tags.items() if name.lower() != key.lower()}
        tags[key] = tag["Value"]
    if len(tags) > MAX_TAGS:
        raise LimitExceededError(f"The number of tags has reached the maximum limit of {MAX_TAGS}.")
    return tags


def without_tags(tags: Mapping[str, str], keys: Sequence[str]) -> dict[str, str]:
    gone = {key.lower() for key in keys}
    return {key: value for key, value in tags.items() if key.lower() not in gone}


def role_view(role: Identity, *, with_tags: bool = True) -> dict[str, Any]:
    """A Role; lists leave tags out, as IAM does."""
    view = {
        **_identity_view(role, "Role", with_tags=with_tags),
        "AssumeRolePolicyDocument": encoded(role.trust_policy),
        "MaxSessionDuration": role.max_session_s,
    }
    if role.description:
        view["Description"] = role.description
    return view


def user_view(user: Identity, *, with_tags: bool = True) -> dict[str, Any]:
    """A User; lists leave tags out, as IAM does."""
    return _identity_view(user, "User", with_tags=with_tags)


def _identity_view(one: Identity, noun: str, *, with_tags: bool) -> dict[str, Any]:
    view: dict[str, Any] = {
        "Path": one.path,
        f"{noun}Name": one.name,
        f"{noun}Id": one.id,
        "Arn": one.arn,
        "CreateDate": one.created_ms / 1000,
    }
    if one.tags and with_tags:
        view["Tags"] = tag_list(one.tags)
    if one.boundary and with_tags:
        view["PermissionsBoundary"] = {
            "PermissionsBoundaryType": "Policy",
            "PermissionsBoundaryArn": one.boundary,
        }
    return view


def policy_view(policy: Policy, attachments: int, boundaries: int, *, full: bool = True) -> dict[str, Any]:
    """A Policy; lists leave description and tags out, as IAM does."""
    view: dict[str, Any] = {
        "PolicyName": policy.name,
        "PolicyId": policy.id,
        "Arn": policy.arn,
        "Path": policy.path,
        "DefaultVersionId": policy.default,
        "AttachmentCount": attachments,
        "PermissionsBoundaryUsageCount": boundaries,
        "IsAttachable": True,
        "CreateDate": policy.created_ms / 1000,
        "UpdateDate": policy.updated_ms / 1000,
    }
    if full and policy.description:
        view["Description"] = policy.description
    if full:
        view["Tags"] = tag_list(policy.tags)
    return view


def version_view(policy: Policy, version: PolicyVersion, *, with_document: bool = False) -> dict[str, Any]:
    view: dict[str, Any] = {
        "VersionId": version.id,
        "IsDefaultVersion": version.id == policy.default,
        "CreateDate": version.created_ms / 1000,
    }
    if with_document:
        view["Document"] = encoded(version.document)
    return view


def key_view(key: StoredKey) -> dict[str, Any]:
    return {
        "UserName": key.user,
        "AccessKeyId": key.id,
        "Status": "Active" if key.active else "Inactive",
        "CreateDate": key.created_ms / 1000,
    }


def page(request: Mapping[str, Any], member: str, rows: Sequence[Any]) -> dict[str, Any]:
    """One page of `rows`, whose order is stable; the marker is the number of rows before the next page."""
    start = _position(request.get("Marker"))
    end = start + int(request.get("MaxItems") or DEFAULT_PAGE)
    result: dict[str, Any] = {member: list(rows[start:end]), "IsTruncated": end < len(rows)}
    if end < len(rows):
        result["Marker"] = base64.urlsafe_b64encode(str(end).encode()).decode()
    return result


def _position(marker: str | None) -> int:
    if not marker:
        return 0
    try:
        return int(base64.urlsafe_b64decode(marker.encode()))
    except ValueError as error:
        raise ValidationError("Invalid Marker. Start the list again without one.") from error
