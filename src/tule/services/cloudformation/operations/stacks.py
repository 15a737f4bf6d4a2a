"""CreateStack, UpdateStack, DeleteStack and UpdateTerminationProtection."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from msgspec.structs import replace

from tule.services.cloudformation import history, state
from tule.services.cloudformation.applying import living
from tule.services.cloudformation.engine import compile_definition, drive
from tule.services.cloudformation.errors import AlreadyExistsError, TokenAlreadyExistsError, ValidationError
from tule.services.cloudformation.exports import all_exports
from tule.services.cloudformation.lookup import StackAddress, address, find, read, refuse_members, transact
from tule.services.cloudformation.models import Caller, Definition, Operation, Stack, TemplateText
from tule.services.cloudformation.planning import Existing, Plan, plan
from tule.services.cloudformation.submission import (
    Compiled,
    Submission,
    check_capabilities,
    check_offered,
    compile_template,
    pseudo_parameters,
    submit,
    template_body,
)
from tule.services.declaration import Context
from tule.store.transaction import ReadTxn, Txn

MAX_TAGS = 50
"""Tags of a stack (CreateStack)."""

REMEMBERED_TOKENS = 20
"""Client request tokens kept per stack (ours)."""

_UPDATABLE = frozenset(
    {
        "CREATE_COMPLETE",
        "CREATE_FAILED",
        "UPDATE_COMPLETE",
        "UPDATE_FAILED",
        "UPDATE_ROLLBACK_COMPLETE",
        "IMPORT_COMPLETE",
    }
)


@dataclass(frozen=True, slots=True)
class Current:
    """A stack as it is, with what a comparison needs."""

    stack: Stack
    text: TemplateText | None
    existing: Existing


async def create_stack(ctx: Context, request: dict[str, Any]) -> dict[str, Any]:
    refuse_members("CreateStack", request, "ResourceTypes", "StackPolicyBody", "StackPolicyURL", "TimeoutInMinutes")
    refuse_members(
        "CreateStack", request.get("RollbackConfiguration") or {}, "RollbackTriggers", "MonitoringTimeInMinutes"
    )
    if request.get("OnFailure") and "DisableRollback" in request:
        raise ValidationError("You cannot specify both DisableRollback and OnFailure")
    where = address(ctx.request, request["StackName"])
    token = request.get("ClientRequestToken", "")
    if same := await read(ctx, where, lambda txn: _existing(txn, where, token)):
        return {"StackId": same}
    submission = await submit(ctx, await template_body(ctx, request, None), given_parameters(request, {}))
    check_capabilities(submission, request.get("Capabilities", []), direct=True)
    uuid = ctx.env.random.uuid()
    arn = ctx.request.arn("cloudformation", f"stack/{where.name}/{uuid}")
    compiled = compile_submission(ctx, submission, where.name, arn)
    check_offered(compiled)
    wanted = definition_of(0, submission, request, None)
    await compare(ctx, compiled, Existing({}, None, {}), wanted)
    disable = bool(request.get("DisableRollback"))
    operation = Operation(
        id=ctx.env.random.uuid(),
        kind="CREATE",
        phase="apply",
        caller=caller_of(ctx, request),
        token=token,
        on_failure="DO_NOTHING" if disable else request.get("OnFailure", "ROLLBACK"),
        retain_except_on_create=bool(request.get("RetainExceptOnCreate")),
    )

    def write(txn: Txn) -> str:
        if same := _existing(txn, where, token):
            return same
        stack = Stack(
            name=where.name,
            uuid=uuid,
            arn=arn,
            status="",
            created_ms=txn.now,
            definition=replace(wanted, revision=txn.new_id()),
            disable_rollback=disable,
            protected=bool(request.get("EnableTerminationProtection")),
        )
        begin(txn, ctx, stack, operation, submission.text)
        return arn

    return {"StackId": await transact(ctx, where, write)}


def _existing(txn: ReadTxn, where: StackAddress, token: str) -> str:
    """The ARN of the stack that the same request has made before; refuses a name that is taken."""
    stack = find(txn, where)
    if stack is None:
        return ""
    if token and stack.tokens.get(token) == "CREATE":
        return stack.arn
    raise AlreadyExistsError(f"Stack [{where.name}] already exists")


def begin(txn: Txn, ctx: Context, stack: Stack, operation: Operation, text: TemplateText | None) -> Stack:
    """Start an operation on a stack: its first status, and the engine as soon as this is durable."""
    tokens = stack.tokens
    if operation.token:
        if tokens.get(operation.token, operation.kind) != operation.kind:
            raise TokenAlreadyExistsError(operation.token)
        tokens = dict([*tokens.items(), (operation.token, operation.kind)][-REMEMBERED_TOKENS:])
    if text is not None:
        state.save_template(txn, stack.uuid, stack.definition.revision, text)
    for change_set in state.change_sets(txn, stack.uuid):
        if change_set.execution_status == "AVAILABLE":  # it was worked out for what the stack is no more
            state.save_change_set(txn, stack.uuid, replace(change_set, execution_status="OBSOLETE"))
    begun = replace(stack, tokens=tokens, operation=operation)
    status = f"{operation.kind}_IN_PROGRESS"
    begun = history.set_status(txn, begun, status, "User Initiated")
    state.announce(txn, stack.uuid, ended=False)
    shard = txn.shard
    txn.after_commit(lambda: drive(ctx.env, shard, stack.uuid))
    return begun


def caller_of(ctx: Context, request: Mapping[str, Any]) -> Caller:
    """In whose name the engine will act: the stack's role if it has one, else whoever called."""
    principal, role = ctx.request.principal, request.get("RoleARN")
    return Caller(
        kind="role" if role else principal.kind,
        arn=role or principal.arn,
        user_id=principal.user_id,
        access_key_id="" if role else principal.access_key_id,
        base_url=ctx.request.base_url,
        trace=ctx.request.trace.header(),
    )


def given_parameters(request: Mapping[str, Any], previous: Mapping[str, str]) -> dict[str, str]:
    """The parameters of a request; UsePreviousValue takes the stack's own."""
    given: dict[str, str] = {}
    for entry in request.get("Parameters", []):
        name = entry.get("ParameterKey", "")
        if name in given:
            raise ValidationError(f"Duplicate parameter {name}")
        if entry.get("UsePreviousValue"):
            if "ParameterValue" in entry:
                raise ValidationError(
                    f"Invalid input for parameter key {name}. Cannot specify usePreviousValue as true and non empty "
                    "value for a parameter"
                )
            if name not in previous:
                raise ValidationError(
                    f"Invalid input for parameter key {name}. Cannot specify usePreviousValue as true for a parameter "
                    "key not in the previous template"
                )
            given[name] = previous[name]
        else:
            given[name] = entry.get("ParameterValue", "")
    return given


def definition_of(
    revision: int, submission: Submission, request: Mapping[str, Any], previous: Definition | None
) -> Definition:
    """What a request asks for. Tags, role and notifications that it doesn't mention stay as they were."""
    tags = previous.tags if previous else {}
    if "Tags" in request:
        tags = {entry["Key"]: entry["Value"] for entry in request["Tags"]}
        if len(tags) > MAX_TAGS:
            raise ValidationError(f"The number of tags, {len(tags)}, is greater than the maximum allowed, {MAX_TAGS}.")
        if reserved := [key for key in tags if key.lower().startswith("aws:")]:
            raise ValidationError(f"Tag keys can not start with 'aws:', which is reserved: {', '.join(reserved)}")
    return Definition(
        revision=revision,
        parameters=submission.parameters,
        hidden=submission.hidden,
        tags=tags,
        capabilities=list(request.get("Capabilities", [])),
        description=submission.template.description,
        role_arn=request.get("RoleARN") or (previous.role_arn if previous else ""),
        notification_arns=list(request.get("NotificationARNs", previous.notification_arns if previous else [])),
    )


def compile_submission(ctx: Context, submission: Submission, name: str, arn: str) -> Compiled:
    """Settle a submission's conditions and order."""
    context = ctx.request
    pseudo = pseudo_parameters(context.account, context.region, context.partition, name, arn)
    return compile_template(submission.template, submission.parameters, pseudo)


async def compare(ctx: Context, compiled: Compiled, existing: Existing, wanted: Definition) -> Plan:
    """What a definition would change, with the exports there are now."""
    shard = state.exports_shard(ctx.request.account, ctx.request.region)
    exports = await ctx.store.read(shard, all_exports, ctx.request)
    return plan(compiled, existing, exports, wanted)


async def current(ctx: Context, where: StackAddress, missing: str) -> Current:
    """The stack with its resources and its template, read together; refuses with `missing` if there is none."""

    def look(txn: ReadTxn) -> tuple[Stack, TemplateText | None, dict[str, Any]]:
        stack = find(txn, where)
        if stack is None:
            raise ValidationError(missing)
        return stack, state.load_template(txn, stack.uuid, stack.definition.revision), living(txn, stack.uuid)

    stack, text, records = await read(ctx, where, look)
    template = None
    if text is not None and records:
        source = text.processed or text.original
        template = (await compile_definition(source, stack.definition, stack, ctx.request.partition)).template
    definition = stack.definition
    return Current(stack, text, Existing(records, template, definition.parameters, definition.tags))


def refuse_busy(stack: Stack) -> None:
    """Refuse an update of a stack that is busy, broken or gone."""
    if stack.status not in _UPDATABLE:
        raise ValidationError(f"Stack:{stack.arn} is in {stack.status} state and can not be updated.")


def changes_something(now: Current, wanted: Definition, found: Plan) -> bool:
    """Whether an update has anything to do."""
    stack = now.stack
    return bool(
        found.changes
        or wanted.tags != stack.definition.tags
        or wanted.notification_arns != stack.definition.notification_arns
        or found.outputs != stack.outputs
    )


async def update_stack(ctx: Context, request: dict[str, Any]) -> dict[str, Any]:
    refuse_members(
        "UpdateStack",
        request,
        "ResourceTypes",
        "StackPolicyBody",
        "StackPolicyURL",
        "StackPolicyDuringUpdateBody",
        "StackPolicyDuringUpdateURL",
    )
    refuse_members(
        "UpdateStack", request.get("RollbackConfiguration") or {}, "RollbackTriggers", "MonitoringTimeInMinutes"
    )
    where = address(ctx.request, request["StackName"])
    now = await current(ctx, where, f"Stack [{where.name}] does not exist")
    token = request.get("ClientRequestToken", "")
    if token and now.stack.tokens.get(token) == "UPDATE":
        return {"StackId": now.stack.arn}
    refuse_busy(now.stack)
    previous = now.stack.definition
    body = await template_body(ctx, request, now.text.original if now.text else None)
    submission = await submit(ctx, body, given_parameters(request, previous.parameters))
    check_capabilities(submission, request.get("Capabilities", []), direct=True)
    compiled = compile_submission(ctx, submission, where.name, now.stack.arn)
    check_offered(compiled)
    wanted = definition_of(0, submission, request, previous)
    found = await compare(ctx, compiled, now.existing, wanted)
    if not changes_something(now, wanted, found):
        raise ValidationError("No updates are to be performed.")
    operation = update_operation(ctx, request, now.stack)

    def write(txn: Txn) -> dict[str, Any]:
        stack = find(txn, where)
        if stack is None or stack.definition.revision != previous.revision:
            raise ValidationError(f"Stack:{now.stack.arn} was changed by another operation; try again.")
        refuse_busy(stack)
        start_update(txn, ctx, stack, operation, replace(wanted, revision=txn.new_id()), submission.text)
        return {"StackId": stack.arn}

    return await transact(ctx, where, write)


def update_operation(ctx: Context, request: Mapping[str, Any], stack: Stack) -> Operation:
    return Operation(
        id=ctx.env.random.uuid(),
        kind="UPDATE",
        phase="apply",
        caller=caller_of(ctx, {"RoleARN": request.get("RoleARN") or stack.definition.role_arn}),
        token=request.get("ClientRequestToken", ""),
        on_failure="DO_NOTHING" if request.get("DisableRollback") else "ROLLBACK",
        retain_except_on_create=bool(request.get("RetainExceptOnCreate")),
    )


def start_update(
    txn: Txn, ctx: Context, stack: Stack, operation: Operation, wanted: Definition, text: TemplateText | None
) -> None:
    """Make `wanted` the stack's definition and start the engine on it."""
    started = replace(operation, previous=stack.definition)
    begin(txn, ctx, replace(stack, definition=wanted, updated_ms=txn.now), started, text)


async def delete_stack(ctx: Context, request: dict[str, Any]) -> dict[str, Any]:
    refuse_members("DeleteStack", request, "DeletionMode")
    where = address(ctx.request, request["StackName"])
    operation = Operation(
        id=ctx.env.random.uuid(),
        kind="DELETE",
        phase="tear_down",
        caller=caller_of(ctx, request),
        token=request.get("ClientRequestToken", ""),
        retain=list(request.get("RetainResources", [])),
    )
    await transact(ctx, where, lambda txn: _start_delete(txn, ctx, where, operation))
    return {}


def _start_delete(txn: Txn, ctx: Context, where: StackAddress, operation: Operation) -> None:
    stack = find(txn, where)
    if stack is None or stack.status in ("DELETE_COMPLETE", "DELETE_IN_PROGRESS"):
        return
    if stack.protected:
        raise ValidationError(f"Stack [{stack.name}] cannot be deleted while TerminationProtection is enabled")
    if stack.operation is not None and stack.operation.kind == "UPDATE":
        raise ValidationError(f"Stack [{stack.arn}] cannot be deleted while in status {stack.status}")
    if operation.retain and stack.status != "DELETE_FAILED":
        raise ValidationError(
            f"Invalid operation on stack [{stack.arn}]. You can only specify RetainResources for stacks "
            "in DELETE_FAILED."
        )
    for change_set in state.change_sets(txn, stack.uuid):
        state.drop_change_set(txn, stack.uuid, change_set.name)
        txn.delist("change set", change_set.arn.rsplit("/", 1)[1])
    begin(txn, ctx, stack, operation, None)


async def update_termination_protection(ctx: Context, request: dict[str, Any]) -> dict[str, Any]:
    where = address(ctx.request, request["StackName"])

    def write(txn: Txn) -> dict[str, Any]:
        stack = find(txn, where)
        if stack is None or stack.status == "DELETE_COMPLETE":
            raise ValidationError(f"Stack [{where.name}] does not exist")
        state.save_stack(txn, replace(stack, protected=bool(request["EnableTerminationProtection"])))
        return {"StackId": stack.arn}

    return await transact(ctx, where, write)
