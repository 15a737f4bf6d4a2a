"""Change sets: work out, show, execute, delete."""

from typing import Any

from msgspec.structs import replace

from tule.kernel.errors import AwsError
from tule.services.cloudformation import history, state
from tule.services.cloudformation.errors import AlreadyExistsError, InvalidChangeSetStatusError, ValidationError
from tule.services.cloudformation.lookup import (
    StackAddress,
    address,
    change_set_address,
    find,
    find_change_set,
    read,
    refuse_members,
    transact,
)
from tule.services.cloudformation.models import Change, ChangeSet, Definition, Operation, Stack, TemplateText
from tule.services.cloudformation.operations.stacks import (
    Current,
    begin,
    caller_of,
    changes_something,
    compare,
    compile_submission,
    current,
    definition_of,
    given_parameters,
    refuse_busy,
    start_update,
    update_operation,
)
from tule.services.cloudformation.paging import page
from tule.services.cloudformation.planning import Existing
from tule.services.cloudformation.submission import (
    Submission,
    TransformError,
    check_capabilities,
    check_offered,
    declared_transforms,
    submit,
    template_body,
)
from tule.services.cloudformation.submission import read as read_text
from tule.services.cloudformation.views import tags_view
from tule.services.declaration import Context
from tule.store.transaction import Txn

NO_CHANGES = "The submitted information didn't contain changes. Submit different information to create a change set."


_TAKEN = ("AVAILABLE", "EXECUTE_IN_PROGRESS")
"""Execution statuses in which a change set keeps its name to itself."""


async def create_change_set(ctx: Context, request: dict[str, Any]) -> dict[str, Any]:
    refuse_members("CreateChangeSet", request, "ResourceTypes", "ResourcesToImport", "ImportExistingResources")
    refuse_members("CreateChangeSet", request, "DeploymentMode")
    refuse_members(
        "CreateChangeSet", request.get("RollbackConfiguration") or {}, "RollbackTriggers", "MonitoringTimeInMinutes"
    )
    kind = request.get("ChangeSetType", "UPDATE")
    if kind not in ("CREATE", "UPDATE"):
        refuse_members("CreateChangeSet", {f"ChangeSetType {kind}": True}, f"ChangeSetType {kind}")
    where = address(ctx.request, request["StackName"])
    now = await _starting_point(ctx, where, request, kind)
    same = await read(ctx, where, lambda txn: state.load_change_set(txn, now.stack.uuid, request["ChangeSetName"]))
    if same is not None and same.execution_status in _TAKEN:
        if request.get("ClientToken") and same.token == request["ClientToken"]:
            return {"Id": same.arn, "StackId": now.stack.arn}
        raise AlreadyExistsError(f"ChangeSet {request['ChangeSetName']} already exists for stack {where.name}")
    body = await template_body(ctx, request, now.text.original if now.text else None)
    change_set, text = await _work_out(ctx, request, now, body)

    def write(txn: Txn) -> dict[str, Any]:
        stack = find(txn, where)
        if stack is None:
            first = replace(now.stack, created_ms=txn.now)
            stack = history.set_status(txn, first, "REVIEW_IN_PROGRESS", "User Initiated")
        old = state.load_change_set(txn, stack.uuid, change_set.name)
        if old is not None and old.execution_status in _TAKEN:
            raise AlreadyExistsError(f"ChangeSet {old.name} already exists for stack {where.name}")
        if old is not None:
            _drop(txn, stack, old)
        revision = txn.new_id()
        kept = replace(change_set, created_ms=txn.now, definition=replace(change_set.definition, revision=revision))
        state.save_template(txn, stack.uuid, revision, text)
        state.save_change_set(txn, stack.uuid, kept)
        txn.enlist("change set", kept.arn.rsplit("/", 1)[1], stack.name.encode())
        return {"Id": kept.arn, "StackId": stack.arn}

    return await transact(ctx, where, write)


async def _starting_point(ctx: Context, where: StackAddress, request: dict[str, Any], kind: str) -> Current:
    """The stack that a change set starts from; for a new one, a stack that is yet to be written."""
    stack = await read(ctx, where, lambda txn: find(txn, where))
    name = request["ChangeSetName"]
    if kind == "CREATE":
        if stack is not None and stack.status != "REVIEW_IN_PROGRESS":
            given = request["StackName"]
            raise ValidationError(
                f"Stack [{given}] already exists and cannot be created again with the changeSet [{name}]."
            )
        if stack is None:
            uuid = ctx.env.random.uuid()
            arn = ctx.request.arn("cloudformation", f"stack/{where.name}/{uuid}")
            blank = Definition(revision=0)
            stack = Stack(name=where.name, uuid=uuid, arn=arn, status="", created_ms=0, definition=blank)
        return Current(stack, None, Existing({}, None, {}))
    now = await current(ctx, where, f"Stack [{where.name}] does not exist")
    refuse_busy(now.stack)
    return now


async def _work_out(ctx: Context, request: dict[str, Any], now: Current, body: str) -> tuple[ChangeSet, TemplateText]:
    """The change set, complete or failed. What is wrong with the request itself is refused at once."""
    uuid, name = ctx.env.random.uuid(), request["ChangeSetName"]
    on_failure = request.get("OnStackFailure", "")
    blank = ChangeSet(
        name=name,
        arn=ctx.request.arn("cloudformation", f"changeSet/{name}/{uuid}"),
        kind=request.get("ChangeSetType", "UPDATE"),
        status="FAILED",
        execution_status="UNAVAILABLE",
        created_ms=0,
        definition=replace(now.stack.definition, capabilities=list(request.get("Capabilities", []))),
        description=request.get("Description", ""),
        on_failure=on_failure or "ROLLBACK",
        on_failure_asked=on_failure,
        token=request.get("ClientToken", ""),
    )
    transformed = bool(declared_transforms(await read_text(body)))
    text = TemplateText(original=body)
    try:
        submission = await submit(ctx, body, given_parameters(request, now.existing.parameters))
        text = submission.text
        wanted = definition_of(0, submission, request, now.stack.definition)
        blank = replace(blank, definition=wanted)
        check_capabilities(submission, request.get("Capabilities", []), direct=False)
    except TransformError as error:
        return replace(blank, reason=error.message), text
    except AwsError as error:
        if not transformed or text.processed == "":
            raise
        return replace(blank, reason=error.message), text
    try:
        changes = await _changes(ctx, now, submission, wanted)
    except AwsError as error:
        return replace(blank, reason=error.message), text
    if changes is None:
        return replace(blank, reason=NO_CHANGES), text
    return replace(blank, status="CREATE_COMPLETE", execution_status="AVAILABLE", changes=changes), text


async def _changes(ctx: Context, now: Current, submission: Submission, wanted: Definition) -> list[Change] | None:
    """The changes, or None if there are none at all."""
    compiled = compile_submission(ctx, submission, now.stack.name, now.stack.arn)
    check_offered(compiled)
    found = await compare(ctx, compiled, now.existing, wanted)
    return found.changes if changes_something(now, wanted, found) else None


async def describe_change_set(ctx: Context, request: dict[str, Any]) -> dict[str, Any]:
    refuse_members("DescribeChangeSet", request, "IncludePropertyValues")
    where, name = await change_set_address(ctx, request)
    given = request["ChangeSetName"]
    stack, change_set = await read(ctx, where, lambda txn: find_change_set(txn, where, name, given))
    changes, following = page(change_set.changes, request.get("NextToken"))
    definition = change_set.definition
    answer: dict[str, Any] = {
        "ChangeSetName": change_set.name,
        "ChangeSetId": change_set.arn,
        "StackId": stack.arn,
        "StackName": stack.name,
        "Description": change_set.description or None,
        "Parameters": [
            {"ParameterKey": key, "ParameterValue": "****" if key in definition.hidden else value}
            for key, value in definition.parameters.items()
        ],
        "CreationTime": change_set.created_ms / 1000,
        "ExecutionStatus": change_set.execution_status,
        "Status": change_set.status,
        "StatusReason": change_set.reason or None,
        "NotificationARNs": definition.notification_arns,
        "RollbackConfiguration": {},
        "Capabilities": definition.capabilities,
        "Tags": tags_view(definition.tags),
        "Changes": [_change_view(change) for change in changes],
        "NextToken": following,
        "IncludeNestedStacks": False,
        "OnStackFailure": change_set.on_failure_asked or None,
    }
    return {member: value for member, value in answer.items() if value is not None}


def _change_view(change: Change) -> dict[str, Any]:
    body: dict[str, Any] = {
        "Action": change.action,
        "LogicalResourceId": change.logical_id,
        "ResourceType": change.type,
        "Scope": sorted({detail.attribute for detail in change.details}),
        "Details": [
            {
                "Target": {"Attribute": detail.attribute, "RequiresRecreation": detail.recreation}
                | ({"Name": detail.name} if detail.name else {}),
                "Evaluation": detail.evaluation,
                "ChangeSource": detail.source,
            }
            | ({"CausingEntity": detail.cause} if detail.cause else {})
            for detail in change.details
        ],
    }
    optional = {
        "PhysicalResourceId": change.physical_id,
        "Replacement": change.replacement,
        "PolicyAction": change.policy_action,
    }
    return {"Type": "Resource", "ResourceChange": body | {key: value for key, value in optional.items() if value}}


async def execute_change_set(ctx: Context, request: dict[str, Any]) -> dict[str, Any]:
    where, name = await change_set_address(ctx, request)
    given = request["ChangeSetName"]

    def write(txn: Txn) -> dict[str, Any]:
        stack, change_set = find_change_set(txn, where, name, given)
        if change_set.execution_status != "AVAILABLE":
            failed = change_set.status == "FAILED"
            what = "status" if failed else "execution status"
            shown = change_set.status if failed else change_set.execution_status
            raise InvalidChangeSetStatusError(
                f"ChangeSet [{change_set.arn}] cannot be executed in its current {what} of [{shown}]"
            )
        _retire_others(txn, stack, change_set)
        if change_set.kind == "CREATE":
            _create(txn, ctx, stack, change_set, request)
        else:
            refuse_busy(stack)
            asked = {**request, "RoleARN": change_set.definition.role_arn}
            operation = replace(update_operation(ctx, asked, stack), change_set=change_set.name)
            changed = replace(stack, change_set_arn=change_set.arn)
            start_update(txn, ctx, changed, operation, change_set.definition, None)
        return {}

    return await transact(ctx, where, write)


def _create(txn: Txn, ctx: Context, stack: Stack, change_set: ChangeSet, request: dict[str, Any]) -> None:
    if stack.status != "REVIEW_IN_PROGRESS":
        raise ValidationError(f"Stack:{stack.arn} is in {stack.status} state and can not be created.")
    disable = bool(request.get("DisableRollback"))
    operation = Operation(
        id=ctx.env.random.uuid(),
        kind="CREATE",
        phase="apply",
        caller=caller_of(ctx, {"RoleARN": change_set.definition.role_arn}),
        token=request.get("ClientRequestToken", ""),
        on_failure="DO_NOTHING" if disable else change_set.on_failure,
        retain_except_on_create=bool(request.get("RetainExceptOnCreate")),
        change_set=change_set.name,
    )
    named = replace(stack, definition=change_set.definition, change_set_arn=change_set.arn, disable_rollback=disable)
    begin(txn, ctx, named, operation, None)


def _retire_others(txn: Txn, stack: Stack, executed: ChangeSet) -> None:
    """Executing one change set deletes the stack's others (as on AWS)."""
    for other in state.change_sets(txn, stack.uuid):
        if other.name != executed.name:
            _drop(txn, stack, other)
    state.save_change_set(txn, stack.uuid, replace(executed, execution_status="EXECUTE_IN_PROGRESS"))


def _drop(txn: Txn, stack: Stack, change_set: ChangeSet) -> None:
    state.drop_change_set(txn, stack.uuid, change_set.name)
    used = {stack.definition.revision}
    if stack.operation is not None and stack.operation.previous is not None:
        used.add(stack.operation.previous.revision)
    if change_set.definition.revision not in used:
        state.drop_template(txn, stack.uuid, change_set.definition.revision)
    txn.delist("change set", change_set.arn.rsplit("/", 1)[1])


async def delete_change_set(ctx: Context, request: dict[str, Any]) -> dict[str, Any]:
    given = request["ChangeSetName"]
    try:
        where, name = await change_set_address(ctx, request)
    except AwsError as error:
        if error.error_code == "ChangeSetNotFoundException":
            return {}  # deleting what is gone succeeds, as on AWS
        raise

    def write(txn: Txn) -> dict[str, Any]:
        stack = find(txn, where)
        if stack is None:
            raise ValidationError(f"Stack [{where.name}] does not exist")
        change_set = state.load_change_set(txn, stack.uuid, name)
        if change_set is None or (given.startswith("arn:") and change_set.arn != given):
            return {}
        if change_set.execution_status == "EXECUTE_IN_PROGRESS":
            raise InvalidChangeSetStatusError(
                f"ChangeSet [{change_set.arn}] cannot be deleted in its current execution status of "
                "[EXECUTE_IN_PROGRESS]"
            )
        _drop(txn, stack, change_set)
        return {}

    return await transact(ctx, where, write)


async def list_change_sets(ctx: Context, request: dict[str, Any]) -> dict[str, Any]:
    where = address(ctx.request, request["StackName"])

    def look(txn: Any) -> dict[str, Any]:
        stack = find(txn, where)
        if stack is None:
            raise ValidationError(f"Stack [{where.name}] does not exist")
        found, following = page(state.change_sets(txn, stack.uuid), request.get("NextToken"))
        views = [_summary_view(stack, change_set) for change_set in found]
        return {"Summaries": views} | ({"NextToken": following} if following else {})

    return await read(ctx, where, look)


def _summary_view(stack: Stack, change_set: ChangeSet) -> dict[str, Any]:
    view = {
        "StackId": stack.arn,
        "StackName": stack.name,
        "ChangeSetId": change_set.arn,
        "ChangeSetName": change_set.name,
        "ExecutionStatus": change_set.execution_status,
        "Status": change_set.status,
        "StatusReason": change_set.reason,
        "CreationTime": change_set.created_ms / 1000,
        "Description": change_set.description,
        "IncludeNestedStacks": False,
    }
    return {member: value for member, value in view.items() if value != ""}
