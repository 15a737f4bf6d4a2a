"""A function's resource policy: AddPermission, GetPolicy, RemovePermission. Stored; nothing evaluates it yet."""

import json
import re
from typing import Any

from tule.services.declaration import Context
from tule.services.lambda_ import state
from tule.services.lambda_.models import LATEST, Policy
from tule.services.lambda_.names import (
    FunctionName,
    InvalidParameterValueError,
    InvalidRequestError,
    PreconditionFailedError,
    ResourceConflictError,
    ResourceNotFoundError,
    arn_of,
    parse_name,
)
from tule.services.lambda_.qualifiers import require_qualifier
from tule.store.transaction import ReadTxn, Txn

Request = dict[str, Any]

_STATEMENT_ID = re.compile(r"[a-zA-Z0-9_-]+")
_SERVICE_PRINCIPAL = re.compile(r"[a-z0-9.-]+\.amazonaws\.com(\.cn)?")
_ARN_PRINCIPAL = re.compile(r"arn:[a-z-]+:(iam|sts)::\d{12}:.+")


def _principal(context_partition: str, request: Request) -> Any:
    text = request["Principal"]
    if text == "*":
        return "*"
    if re.fullmatch(r"\d{12}", text):
        return {"AWS": f"arn:{context_partition}:iam::{text}:root"}
    if _ARN_PRINCIPAL.fullmatch(text):
        return {"AWS": text}
    if _SERVICE_PRINCIPAL.fullmatch(text):
        return {"Service": text}
    raise InvalidParameterValueError("The provided principal was invalid. Please check the principal and try again.")


def _condition(request: Request) -> dict[str, Any]:
    condition: dict[str, Any] = {}
    if request.get("SourceAccount"):
        condition["StringEquals"] = {"AWS:SourceAccount": request["SourceAccount"]}
    if request.get("EventSourceToken"):
        condition.setdefault("StringEquals", {})["lambda:EventSourceToken"] = request["EventSourceToken"]
    if request.get("PrincipalOrgID"):
        condition.setdefault("StringEquals", {})["aws:PrincipalOrgID"] = request["PrincipalOrgID"]
    if request.get("FunctionUrlAuthType"):
        condition.setdefault("StringEquals", {})["lambda:FunctionUrlAuthType"] = request["FunctionUrlAuthType"]
    if request.get("InvokedViaFunctionUrl") is not None:
        condition["Bool"] = {"lambda:InvokedViaFunctionUrl": str(bool(request["InvokedViaFunctionUrl"])).lower()}
    if request.get("SourceArn"):
        condition["ArnLike"] = {"AWS:SourceArn": request["SourceArn"]}
    return condition


def _statement(ctx: Context, name: FunctionName, request: Request) -> dict[str, Any]:
    sid = request["StatementId"]
    if not _STATEMENT_ID.fullmatch(sid):
        raise InvalidRequestError(
            sid, "statementId", "Member must satisfy regular expression pattern: ([a-zA-Z0-9-_]+)"
        )
    statement = {
        "Sid": sid,
        "Effect": "Allow",
        "Principal": _principal(ctx.request.partition, request),
        "Action": request["Action"],
        "Resource": arn_of(ctx.request, name),
    }
    condition = _condition(request)
    if condition:
        statement["Condition"] = condition
    return statement


def _existing(ctx: Context, txn: ReadTxn, name: FunctionName) -> Policy:
    require_qualifier(txn, ctx.request, name)
    return state.read_policy(txn, name.qualifier) or Policy("", [])


def _same_revision(policy: Policy, request: Request) -> None:
    if request.get("RevisionId") and request["RevisionId"] != policy.revision:
        raise PreconditionFailedError("GetPolicy")


async def add_permission(ctx: Context, request: Request) -> dict[str, Any]:
    name = parse_name(ctx.request, request["FunctionName"], request.get("Qualifier") or "")
    if name.qualifier == LATEST:
        raise InvalidParameterValueError("We currently do not support adding policies for $LATEST.")
    statement = _statement(ctx, name, request)
    revision = ctx.env.random.uuid()

    def add(txn: Txn) -> None:
        policy = _existing(ctx, txn, name)
        _same_revision(policy, request)
        if any(other["Sid"] == statement["Sid"] for other in policy.statements):
            raise ResourceConflictError(
                f"The statement id ({statement['Sid']}) provided already exists. "
                "Please provide a new statement id, or remove the existing statement."
            )
        state.write_policy(txn, Policy(revision, [*policy.statements, statement]), name.qualifier)

    await ctx.store.transact(state.function_shard(*name[:3]), add, ctx.request)
    return {"Statement": json.dumps(statement, separators=(",", ":"))}


async def get_policy(ctx: Context, request: Request) -> dict[str, Any]:
    name = parse_name(ctx.request, request["FunctionName"], request.get("Qualifier") or "")

    def read(txn: ReadTxn) -> Policy:
        policy = _existing(ctx, txn, name)
        if not policy.statements:
            raise ResourceNotFoundError("The resource you requested does not exist.")
        return policy

    policy = await ctx.store.read(state.function_shard(*name[:3]), read, ctx.request)
    document = {"Version": "2012-10-17", "Id": "default", "Statement": policy.statements}
    return {"Policy": json.dumps(document, separators=(",", ":")), "RevisionId": policy.revision}


async def remove_permission(ctx: Context, request: Request) -> dict[str, Any]:
    name = parse_name(ctx.request, request["FunctionName"], request.get("Qualifier") or "")
    sid, revision = request["StatementId"], ctx.env.random.uuid()

    def remove(txn: Txn) -> None:
        if state.read_function(txn) is None:
            raise ResourceNotFoundError(f"No policy found for: {arn_of(ctx.request, name)}")
        policy = _existing(ctx, txn, name)
        kept = [statement for statement in policy.statements if statement["Sid"] != sid]
        if not policy.statements:
            raise ResourceNotFoundError("No policy is associated with the given resource.")
        if len(kept) == len(policy.statements):
            raise ResourceNotFoundError(f"Statement {sid} is not found in resource policy.")
        _same_revision(policy, request)
        state.write_policy(txn, Policy(revision, kept), name.qualifier)

    await ctx.store.transact(state.function_shard(*name[:3]), remove, ctx.request)
    return {}
