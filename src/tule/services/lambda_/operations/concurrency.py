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
from tule.store.transaction import Txn

Request = dict[str, Any]


async def _set(ctx: Context, name: FunctionName, reserved: int | None) -> None:
    def change(txn: Txn) -> Function:
        function = state.read_function(txn)
        if function is None:
            raise function_not_found(ctx.request, name)
        changed = replace(function, reserved_concurrency=reserved)
        state.write_function(txn, changed)
        return changed

    function = await ctx.store.transact(state.function_shard(*name[:3]), change, ctx.request)
    await execution(ctx.env).changed(function)


async def put_function_concurrency(ctx: Context, request: Request) -> dict[str, Any]:
    name = parse_name(ctx.request, request["FunctionName"])
    only_unqualified(name)
    reserved = int(request["ReservedConcurrentExecutions"])
    functions = await state.list_functions(ctx.store, ctx.request)
    others = sum(f.reserved_concurrency or 0 for f in functions if f.name != name.name)
    if name.name in {f.name for f in functions}:
        left = limits.ACCOUNT_CONCURRENCY - others - reserved
        if left < limits.UNRESERVED_MINIMUM:
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
