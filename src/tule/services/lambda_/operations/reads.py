"""Reads that deploy tools make of every function, answered with what holds on Tule."""

from typing import Any

from tule.services.declaration import Context
from tule.services.lambda_ import limits, state
from tule.services.lambda_.names import parse_name
from tule.services.lambda_.qualifiers import read_qualified

Request = dict[str, Any]


async def _arn(ctx: Context, request: Request) -> str:
    name = parse_name(ctx.request, request["FunctionName"], request.get("Qualifier") or "")
    shard = state.function_shard(*name[:3])
    function = await ctx.store.read(shard, lambda txn: read_qualified(txn, ctx.request, name), ctx.request)
    return f"{function.arn}:{name.qualifier}" if name.qualifier else function.arn


async def get_function_code_signing_config(ctx: Context, request: Request) -> dict[str, Any]:
    """No function has one, since none can be attached."""
    await _arn(ctx, request)
    return {"CodeSigningConfigArn": "", "FunctionName": parse_name(ctx.request, request["FunctionName"]).name}


async def get_runtime_management_config(ctx: Context, request: Request) -> dict[str, Any]:
    """Auto: a function runs on the interpreter the host has, whenever it is updated."""
    return {"UpdateRuntimeOn": "Auto", "FunctionArn": await _arn(ctx, request)}


async def get_account_settings(ctx: Context, _request: Request) -> dict[str, Any]:
    functions = await state.list_functions(ctx.store, ctx.request)
    reserved = sum(function.reserved_concurrency or 0 for function in functions)
    return {
        "AccountLimit": {
            "TotalCodeSize": limits.CODE_STORAGE_BYTES,
            "CodeSizeUnzipped": limits.UNZIPPED_MAX_BYTES,
            "CodeSizeZipped": limits.ZIPPED_MAX_BYTES,
            "ConcurrentExecutions": limits.ACCOUNT_CONCURRENCY,
            "UnreservedConcurrentExecutions": limits.ACCOUNT_CONCURRENCY - reserved,
        },
        "AccountUsage": {
            "TotalCodeSize": sum(function.package.size_bytes for function in functions),
            "FunctionCount": len(functions),
        },
    }
