"""Reserved concurrency: stored with the function, and kept to by every invocation."""

from typing import Any

from msgspec.structs import replace

from tule.services.declaration import Context
from tule.services.lambda_ import limits, state
from tule.services.lambda_.execution import execution
from tule.services.lambda_.models import Function
from tule.services.lambda_.names import (
    FunctionName,
    InvalidParameterValueError,
    function_not_found,
    only_unqualified,
    parse_name,
)
from tule.services.lambda_.operations.provisioned import set_aside
from tule.store.transaction import Txn

Request = dict[str, Any]


async def _set(ctx: Context, name: FunctionName, reserved: int | None) -> None:
    def change(txn: Txn) -> Function:
        function = state.read_function(txn)
        if function is None:
            raise function_not_found(ctx.request, name)
        total = state.total_provisioned(txn)
        if reserved is not None and reserved < total:
            raise InvalidParameterValueError(
                f" ReservedConcurrentExecutions {reserved} should not be lower than function's total provisioned "
                f"concurrency [{total}]."
            )
        changed = replace(function, reserved_concurrency=reserved)
        state.write_function(txn, changed)
        return changed

    function = await ctx.store.transact(state.function_shard(*name[:3]), change, ctx.request)
    await execution(ctx.env).changed(function)


async def _exists(ctx: Context, name: FunctionName) -> bool:
    return await ctx.store.read(state.function_shard(*name[:3]), state.read_function, ctx.request) is not None


async def put_function_concurrency(ctx: Context, request: Request) -> dict[str, Any]:
    name = parse_name(ctx.request, request["FunctionName"])
    only_unqualified(name)
    reserved = int(request["ReservedConcurrentExecutions"])
    left = limits.ACCOUNT_CONCURRENCY - await set_aside(ctx, without=name.name) - reserved
    if left < limits.UNRESERVED_MINIMUM and await _exists(ctx, name):
        raise InvalidParameterValueError(
            "Specified ReservedConcurrentExecutions for function decreases account's UnreservedConcurrentExecution "
            f"below its minimum value of [{limits.UNRESERVED_MINIMUM}]."
        )
    await _set(ctx, name, reserved)
    return {"ReservedConcurrentExecutions": reserved}


async def get_function_concurrency(ctx: Context, request: Request) -> dict[str, Any]:
    name = parse_name(ctx.request, request["FunctionName"])
    only_unqualified(name)
    function = await ctx.store.read(state.function_shard(*name[:3]), state.read_function, ctx.request)
    if function is None:
        raise function_not_found(ctx.request, name)
    if function.reserved_concurrency is None:
        return {}
    return {"ReservedConcurrentExecutions": function.reserved_concurrency}


async def delete_function_concurrency(ctx: Context, request: Request) -> dict[str, Any]:
    name = parse_name(ctx.request, request["FunctionName"])
    only_unqualified(name)
    await _set(ctx, name, None)
    return {}
