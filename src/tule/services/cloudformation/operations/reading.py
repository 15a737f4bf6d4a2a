"""What describes and lists stacks, their events, resources, exports and imports."""

from typing import Any

from tule.services.cloudformation import state
from tule.services.cloudformation.errors import ValidationError
from tule.services.cloudformation.exports import all_exports, importers
from tule.services.cloudformation.lookup import StackAddress, address, find, read
from tule.services.cloudformation.models import Stack, StackResource
from tule.services.cloudformation.paging import PAGE, after, page, token
from tule.services.cloudformation.views import detail_view, event_view, resource_view, stack_view, summary_view
from tule.services.declaration import Context
from tule.store.transaction import ReadTxn

_ALL = 100_000
"""Stacks listed at once; quotas are 2,000 living ones, and deleted ones go after 90 days."""


async def _all_stacks(ctx: Context) -> list[Stack]:
    """Every stack, newest first, without what only DescribeStacks of one stack tells."""
    found: list[Stack] = []
    last = ""
    while len(found) < _ALL:
        context = ctx.request
        entries = await ctx.store.directory(state.SERVICE, context.account, context.region, "stack", after=last)
        found += [state.decode_stack(entry.value) for entry in entries]
        if not entries:
            break
        last = entries[-1].name
    return sorted(found, key=lambda stack: (stack.created_ms, stack.uuid), reverse=True)


async def describe_stacks(ctx: Context, request: dict[str, Any]) -> dict[str, Any]:
    name = request.get("StackName")
    if name:
        where = address(ctx.request, name)
        stack = await read(ctx, where, lambda txn: find(txn, where))
        if stack is None:
            raise ValidationError(f"Stack with id {name} does not exist")
        return {"Stacks": [stack_view(stack)]}
    living = [stack for stack in await _all_stacks(ctx) if stack.status != "DELETE_COMPLETE"]
    chosen, following = page(living, request.get("NextToken"))
    views = []
    for entry in chosen:
        where = address(ctx.request, entry.arn)
        stack = await read(ctx, where, lambda txn, where=where: find(txn, where))  # type: ignore[misc]  # a default binds it
        if stack is not None:
            views.append(stack_view(stack))
    return {"Stacks": views} | ({"NextToken": following} if following else {})


async def list_stacks(ctx: Context, request: dict[str, Any]) -> dict[str, Any]:
    wanted = request.get("StackStatusFilter") or ()
    found = [stack for stack in await _all_stacks(ctx) if not wanted or stack.status in wanted]
    chosen, following = page(found, request.get("NextToken"))
    views = [summary_view(stack) for stack in chosen]
    return {"StackSummaries": views} | ({"NextToken": following} if following else {})


def _must(txn: ReadTxn, where: StackAddress, missing: str) -> Stack:
    stack = find(txn, where)
    if stack is None:
        raise ValidationError(missing)
    return stack


async def describe_stack_events(ctx: Context, request: dict[str, Any]) -> dict[str, Any]:
    name = request.get("StackName")
    if not name:
        raise ValidationError("StackName is a required parameter.")
    where = address(ctx.request, name)

    def look(txn: ReadTxn) -> dict[str, Any]:
        stack = _must(txn, where, f"Stack [{name}] does not exist")
        rows = state.events(txn, stack.uuid, after(request.get("NextToken")), PAGE + 1)
        views = [event_view(stack, event) for _, event in rows[:PAGE]]
        return {"StackEvents": views} | ({"NextToken": token(rows[PAGE - 1][0])} if len(rows) > PAGE else {})

    return await read(ctx, where, look)


async def describe_stack_resource(ctx: Context, request: dict[str, Any]) -> dict[str, Any]:
    name, logical_id = request["StackName"], request["LogicalResourceId"]
    where = address(ctx.request, name)

    def look(txn: ReadTxn) -> dict[str, Any]:
        stack = _must(txn, where, f"Stack '{name}' does not exist")
        record = state.load_resource(txn, stack.uuid, logical_id)
        if record is None:
            raise ValidationError(f"Resource {logical_id} does not exist for stack {stack.name}")
        return {"StackResourceDetail": detail_view(record, stack)}

    return await read(ctx, where, look)


async def describe_stack_resources(ctx: Context, request: dict[str, Any]) -> dict[str, Any]:
    name, logical_id = request.get("StackName"), request.get("LogicalResourceId")
    physical_id = request.get("PhysicalResourceId")
    if bool(name) == bool(physical_id):
        raise ValidationError("One of StackName and PhysicalResourceId must be specified, and not both.")
    if not name:
        name = await _owner(ctx, str(physical_id))
    where = address(ctx.request, name)

    def look(txn: ReadTxn) -> dict[str, Any]:
        stack = _must(txn, where, f"Stack with id {name} does not exist")
        records = _records(txn, stack)
        if logical_id:
            records = [record for record in records if record.logical_id == logical_id]
            if not records:
                raise ValidationError(f"Resource {logical_id} does not exist for stack {stack.name}")
        return {"StackResources": [resource_view(record, stack, "Timestamp") for record in records]}

    return await read(ctx, where, look)


def _records(txn: ReadTxn, stack: Stack) -> list[StackResource]:
    return sorted(state.resources(txn, stack.uuid).values(), key=lambda record: record.logical_id)


async def _owner(ctx: Context, physical_id: str) -> str:
    """The ARN of the stack that has a resource of this physical id."""
    for stack in await _all_stacks(ctx):
        if stack.status == "DELETE_COMPLETE":
            continue
        where = address(ctx.request, stack.arn)
        records = await read(ctx, where, lambda txn, stack=stack: _records(txn, stack))  # type: ignore[misc]  # a default binds it
        if any(record.physical_id == physical_id for record in records):
            return stack.arn
    raise ValidationError(f"Stack for {physical_id} does not exist")


async def list_stack_resources(ctx: Context, request: dict[str, Any]) -> dict[str, Any]:
    name = request["StackName"]
    where = address(ctx.request, name)

    def look(txn: ReadTxn) -> dict[str, Any]:
        stack = _must(txn, where, f"Stack with id {name} does not exist")
        chosen, following = page(_records(txn, stack), request.get("NextToken"))
        views = [resource_view(record, stack, "LastUpdatedTimestamp") for record in chosen]
        return {"StackResourceSummaries": views} | ({"NextToken": following} if following else {})

    return await read(ctx, where, look)


async def list_exports(ctx: Context, request: dict[str, Any]) -> dict[str, Any]:
    shard = state.exports_shard(ctx.request.account, ctx.request.region)
    found = await ctx.store.read(shard, all_exports, ctx.request)
    chosen, following = page(sorted(found.values(), key=lambda export: export.name), request.get("NextToken"))
    views = [{"ExportingStackId": entry.stack_id, "Name": entry.name, "Value": entry.value} for entry in chosen]
    return {"Exports": views} | ({"NextToken": following} if following else {})


async def list_imports(ctx: Context, request: dict[str, Any]) -> dict[str, Any]:
    name = request["ExportName"]
    shard = state.exports_shard(ctx.request.account, ctx.request.region)
    users = await ctx.store.read(shard, lambda txn: importers(txn, name), ctx.request)
    if not users:
        raise ValidationError(f"Export '{name}' is not imported by any stack.")
    chosen, following = page([user.split("/")[1] for user in users], request.get("NextToken"))
    return {"Imports": chosen} | ({"NextToken": following} if following else {})
