"""A layer version's policy: which other accounts may use it. Held against them when a function names the layer."""

import json
import re
from typing import Any

from tule.services.declaration import Context
from tule.services.lambda_.layer_state import layer_shard, read_layer, read_layer_policy, write_layer_policy
from tule.services.lambda_.layers import LayerName, parse_layer
from tule.services.lambda_.models import Policy
from tule.services.lambda_.names import PreconditionFailedError, ResourceConflictError, ResourceNotFoundError
from tule.store.transaction import ReadTxn, Txn

Request = dict[str, Any]


def _existing(ctx: Context, txn: ReadTxn, name: LayerName) -> Policy:
    if read_layer(txn, name.version) is None:
        raise ResourceNotFoundError(f"Layer version {name.arn(ctx.request)} does not exist.")
    return read_layer_policy(txn, name.version) or Policy("", [])


def _same_revision(policy: Policy, request: Request) -> None:
    if request.get("RevisionId") and request["RevisionId"] != policy.revision:
        raise PreconditionFailedError("GetLayerPolicy")


def _statement(ctx: Context, name: LayerName, request: Request) -> dict[str, Any]:
    principal: Any = request["Principal"]
    if re.fullmatch(r"\d{12}", principal):
        principal = {"AWS": f"arn:{ctx.request.partition}:iam::{principal}:root"}
    elif principal != "*":
        principal = {"AWS": principal}
    statement = {
        "Sid": request["StatementId"],
        "Effect": "Allow",
        "Principal": principal,
        "Action": request["Action"],
        "Resource": name.arn(ctx.request),
    }
    if request.get("OrganizationId"):
        statement["Condition"] = {"StringEquals": {"aws:PrincipalOrgID": request["OrganizationId"]}}
    return statement


async def add_layer_version_permission(ctx: Context, request: Request) -> dict[str, Any]:
    name = parse_layer(ctx.request, request["LayerName"], request["VersionNumber"])
    statement, revision = _statement(ctx, name, request), ctx.env.random.uuid()

    def add(txn: Txn) -> None:
        policy = _existing(ctx, txn, name)
        _same_revision(policy, request)
        if any(other["Sid"] == statement["Sid"] for other in policy.statements):
            raise ResourceConflictError(
                f"The statement id ({statement['Sid']}) provided already exists. "
                "Please provide a new statement id, or remove the existing statement."
            )
        write_layer_policy(txn, name.version, Policy(revision, [*policy.statements, statement]))

    await ctx.store.transact(layer_shard(*name[:3]), add, ctx.request)
    return {"Statement": json.dumps(statement, separators=(",", ":")), "RevisionId": revision}


async def get_layer_version_policy(ctx: Context, request: Request) -> dict[str, Any]:
    name = parse_layer(ctx.request, request["LayerName"], request["VersionNumber"])

    def read(txn: ReadTxn) -> Policy:
        policy = _existing(ctx, txn, name)
        if not policy.statements:
            raise ResourceNotFoundError("No policy is associated with the given resource.")
        return policy

    policy = await ctx.store.read(layer_shard(*name[:3]), read, ctx.request)
    document = {"Version": "2012-10-17", "Id": "default", "Statement": policy.statements}
    return {"Policy": json.dumps(document, separators=(",", ":")), "RevisionId": policy.revision}


async def remove_layer_version_permission(ctx: Context, request: Request) -> dict[str, Any]:
    name = parse_layer(ctx.request, request["LayerName"], request["VersionNumber"])
    sid, revision = request["StatementId"], ctx.env.random.uuid()

    def remove(txn: Txn) -> None:
        policy = _existing(ctx, txn, name)
        _same_revision(policy, request)
        kept = [statement for statement in policy.statements if statement["Sid"] != sid]
        if len(kept) == len(policy.statements):
            raise ResourceNotFoundError(f"Statement {sid} is not found in resource policy.")
        write_layer_policy(txn, name.version, Policy(revision, kept))

    await ctx.store.transact(layer_shard(*name[:3]), remove, ctx.request)
    return {}
