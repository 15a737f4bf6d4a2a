"""Users and roles: what both can do."""

from typing import Any, Final

import msgspec

from tule.kernel.arns import Arn
from tule.services.iam import state
from tule.services.iam.documents import check_identity_policy, check_size, check_trust_policy, encoded
from tule.services.iam.errors import (
    DeleteConflictError,
    EntityAlreadyExistsError,
    LimitExceededError,
    NoSuchEntityError,
    ValidationError,
)
from tule.services.iam.models import MAX_ATTACHED, MAX_INLINE_CHARACTERS, Identity, Kind
from tule.services.iam.views import page, role_view, tag_list, tags_of, user_view, without_tags
from tule.store.transaction import Handler, ReadHandler, ReadTxn, Txn

_NOUN: Final[dict[Kind, str]] = {"user": "User", "role": "Role"}
_ID_PREFIX: Final[dict[Kind, str]] = {"user": "AIDA", "role": "AROA"}


def _name(kind: Kind, request: dict[str, Any]) -> str:
    return str(request[f"{_NOUN[kind]}Name"])


def _create(txn: Txn, kind: Kind, request: dict[str, Any]) -> Identity:
    name, path = _name(kind, request), request.get("Path") or "/"
    if state.find_identity(txn, kind, name) is not None:
        raise EntityAlreadyExistsError(f"{_NOUN[kind]} with name {name} already exists.")
    context = txn.context
    created = Identity(
        kind=kind,
        name=name,
        path=path,
        id=state.mint_id(txn, _ID_PREFIX[kind]),
        arn=f"arn:{context.partition}:iam::{context.account}:{kind}{path}{name}",
        created_ms=txn.now,
        tags=tags_of(request),
        boundary=request.get("PermissionsBoundary") or "",
        trust_policy=request.get("AssumeRolePolicyDocument") or "",
        description=request.get("Description") or "",
        max_session_s=request.get("MaxSessionDuration") or 3600,
    )
    state.save_identity(txn, created)
    return created


def create_user(txn: Txn, request: dict[str, Any]) -> dict[str, Any]:
    return {"User": user_view(_create(txn, "user", request))}


def create_role(txn: Txn, request: dict[str, Any]) -> dict[str, Any]:
    check_trust_policy(request["AssumeRolePolicyDocument"])
    return {"Role": role_view(_create(txn, "role", request))}


def get_user(txn: ReadTxn, request: dict[str, Any]) -> dict[str, Any]:
    """Without a name: whoever signed, which for an account's root has no user name."""
    name = request.get("UserName")
    if name:
        return {"User": user_view(state.identity(txn, "user", name))}
    principal = txn.context.principal
    if principal.kind == "user":
        return {"User": user_view(state.identity(txn, "user", principal.arn.rpartition("/")[2]))}
    if principal.kind == "root":
        return {"User": {"Path": "/", "UserId": principal.user_id, "Arn": principal.arn, "CreateDate": 0.0}}
    raise ValidationError("Must specify userName when calling with non-User credentials")


def get_role(txn: ReadTxn, request: dict[str, Any]) -> dict[str, Any]:
    return {"Role": role_view(state.identity(txn, "role", request["RoleName"]))}


def list_users(txn: ReadTxn, request: dict[str, Any]) -> dict[str, Any]:
    found = state.identities(txn, "user", request.get("PathPrefix") or "/")
    return page(request, "Users", [user_view(one, with_tags=False) for one in found])


def list_roles(txn: ReadTxn, request: dict[str, Any]) -> dict[str, Any]:
    found = state.identities(txn, "role", request.get("PathPrefix") or "/")
    return page(request, "Roles", [role_view(one, with_tags=False) for one in found])


def update_role(txn: Txn, request: dict[str, Any]) -> dict[str, Any]:
    role = state.identity(txn, "role", request["RoleName"])
    changes: dict[str, Any] = {}
    if request.get("Description") is not None:
        changes["description"] = request["Description"]
    if request.get("MaxSessionDuration") is not None:
        changes["max_session_s"] = request["MaxSessionDuration"]
    state.save_identity(txn, msgspec.structs.replace(role, **changes))
    return {}


def update_assume_role_policy(txn: Txn, request: dict[str, Any]) -> dict[str, Any]:
    check_trust_policy(request["PolicyDocument"])
    role = state.identity(txn, "role", request["RoleName"])
    state.save_identity(txn, msgspec.structs.replace(role, trust_policy=request["PolicyDocument"]))
    return {}


def _delete(txn: Txn, kind: Kind, request: dict[str, Any]) -> dict[str, Any]:
    gone = state.identity(txn, kind, _name(kind, request))
    if gone.attached:
        raise DeleteConflictError("Cannot delete entity, must detach all policies first.")
    if gone.inline:
        raise DeleteConflictError("Cannot delete entity, must delete policies first.")
    if kind == "user" and state.keys(txn, txn.context.account, gone.name):
        raise DeleteConflictError("Cannot delete entity, must delete access keys first.")
    state.drop_identity(txn, gone)
    return {}


def _put_inline(txn: Txn, kind: Kind, request: dict[str, Any]) -> dict[str, Any]:
    check_identity_policy(request["PolicyDocument"])
    one = state.identity(txn, kind, _name(kind, request))
    inline = {**one.inline, request["PolicyName"]: request["PolicyDocument"]}
    check_size("".join(inline.values()), MAX_INLINE_CHARACTERS[kind], f"MaxPolicySizePer{_NOUN[kind]}")
    state.save_identity(txn, msgspec.structs.replace(one, inline=inline))
    return {}


def _get_inline(txn: ReadTxn, kind: Kind, request: dict[str, Any]) -> dict[str, Any]:
    one, name = state.identity(txn, kind, _name(kind, request)), request["PolicyName"]
    if name not in one.inline:
        raise NoSuchEntityError(f"The {kind} policy with name {name} cannot be found.")
    return {f"{_NOUN[kind]}Name": one.name, "PolicyName": name, "PolicyDocument": encoded(one.inline[name])}


def _delete_inline(txn: Txn, kind: Kind, request: dict[str, Any]) -> dict[str, Any]:
    one, name = state.identity(txn, kind, _name(kind, request)), request["PolicyName"]
    if name not in one.inline:
        raise NoSuchEntityError(f"The {kind} policy with name {name} cannot be found.")
    inline = {key: value for key, value in one.inline.items() if key != name}
    state.save_identity(txn, msgspec.structs.replace(one, inline=inline))
    return {}


def _list_inline(txn: ReadTxn, kind: Kind, request: dict[str, Any]) -> dict[str, Any]:
    return page(request, "PolicyNames", sorted(state.identity(txn, kind, _name(kind, request)).inline))


def _attach(txn: Txn, kind: Kind, request: dict[str, Any]) -> dict[str, Any]:
    one, arn = state.identity(txn, kind, _name(kind, request)), request["PolicyArn"]
    check_attachable(txn, arn)
    if arn in one.attached:
        return {}
    if len(one.attached) >= MAX_ATTACHED:
        raise LimitExceededError(f"Cannot exceed quota for PoliciesPer{_NOUN[kind]}: {MAX_ATTACHED}")
    state.save_identity(txn, msgspec.structs.replace(one, attached=(*one.attached, arn)))
    return {}


def check_attachable(txn: ReadTxn, arn: str) -> None:
    """A policy of AWS's own by the form of its ARN (their texts aren't shipped), one of the account's by looking."""
    parsed = Arn.parse(arn)
    if parsed is None or parsed.service != "iam" or not parsed.resource.startswith("policy/"):
        raise ValidationError("Invalid ARN: Could not be parsed!")
    if parsed.account != "aws" and not state.has_policy(txn, arn):
        raise NoSuchEntityError(f"Policy {arn} does not exist or is not attachable.")


def _detach(txn: Txn, kind: Kind, request: dict[str, Any]) -> dict[str, Any]:
    one, arn = state.identity(txn, kind, _name(kind, request)), request["PolicyArn"]
    if arn not in one.attached:
        raise NoSuchEntityError(f"Policy {arn} was not found.")
    rest = tuple(other for other in one.attached if other != arn)
    state.save_identity(txn, msgspec.structs.replace(one, attached=rest))
    return {}


def _list_attached(txn: ReadTxn, kind: Kind, request: dict[str, Any]) -> dict[str, Any]:
    prefix = request.get("PathPrefix") or "/"
    rows = [
        {"PolicyName": arn.rpartition("/")[2], "PolicyArn": arn}
        for arn in state.identity(txn, kind, _name(kind, request)).attached
        if arn.partition(":policy")[2].startswith(prefix)
    ]
    return page(request, "AttachedPolicies", rows)


def _tag(txn: Txn, kind: Kind, request: dict[str, Any]) -> dict[str, Any]:
    one = state.identity(txn, kind, _name(kind, request))
    state.save_identity(txn, msgspec.structs.replace(one, tags=tags_of(request, one.tags)))
    return {}


def _untag(txn: Txn, kind: Kind, request: dict[str, Any]) -> dict[str, Any]:
    one = state.identity(txn, kind, _name(kind, request))
    state.save_identity(txn, msgspec.structs.replace(one, tags=without_tags(one.tags, request["TagKeys"])))
    return {}


def _list_tags(txn: ReadTxn, kind: Kind, request: dict[str, Any]) -> dict[str, Any]:
    return page(request, "Tags", tag_list(state.identity(txn, kind, _name(kind, request)).tags))


def _put_boundary(txn: Txn, kind: Kind, request: dict[str, Any]) -> dict[str, Any]:
    one, arn = state.identity(txn, kind, _name(kind, request)), request["PermissionsBoundary"]
    check_attachable(txn, arn)
    state.save_identity(txn, msgspec.structs.replace(one, boundary=arn))
    return {}


def _delete_boundary(txn: Txn, kind: Kind, request: dict[str, Any]) -> dict[str, Any]:
    one = state.identity(txn, kind, _name(kind, request))
    if not one.boundary:
        raise NoSuchEntityError(f"The {kind} with name {one.name} has no permissions boundary.")
    state.save_identity(txn, msgspec.structs.replace(one, boundary=""))
    return {}


def writes(kind: Kind) -> dict[str, Handler]:
    """What changes a user or a role, by operation name."""
    noun = _NOUN[kind]
    return {
        f"Delete{noun}": lambda txn, request: _delete(txn, kind, request),
        f"Put{noun}Policy": lambda txn, request: _put_inline(txn, kind, request),
        f"Delete{noun}Policy": lambda txn, request: _delete_inline(txn, kind, request),
        f"Attach{noun}Policy": lambda txn, request: _attach(txn, kind, request),
        f"Detach{noun}Policy": lambda txn, request: _detach(txn, kind, request),
        f"Tag{noun}": lambda txn, request: _tag(txn, kind, request),
        f"Untag{noun}": lambda txn, request: _untag(txn, kind, request),
        f"Put{noun}PermissionsBoundary": lambda txn, request: _put_boundary(txn, kind, request),
        f"Delete{noun}PermissionsBoundary": lambda txn, request: _delete_boundary(txn, kind, request),
    }


def reads(kind: Kind) -> dict[str, ReadHandler]:
    """What tells of a user or a role, by operation name."""
    noun = _NOUN[kind]
    return {
        f"Get{noun}Policy": lambda txn, request: _get_inline(txn, kind, request),
        f"List{noun}Policies": lambda txn, request: _list_inline(txn, kind, request),
        f"ListAttached{noun}Policies": lambda txn, request: _list_attached(txn, kind, request),
        f"List{noun}Tags": lambda txn, request: _list_tags(txn, kind, request),
    }
