"""Reads that deploy tools make of every function, answered with what holds on Tule."""

from typing import Any

from tule.kernel.errors import OperationNotImplementedError
from tule.services.declaration import Context
from tule.services.lambda_ import limits, state
from tule.services.lambda_.layer_state import list_layers
from tule.services.lambda_.names import InvalidParameterValueError, parse_name
from tule.services.lambda_.operations.provisioned import set_aside
from tule.services.lambda_.qualifiers import read_qualified

Request = dict[str, Any]


async def _arn(ctx: Context, request: Request) -> str:
    name = parse_name(ctx.request, request["FunctionName"], request.get("Qualifier") or "")
    shard = state.function_shard(*name[:3])
    function = await ctx.store.read(shard, lambda txn: read_qualified(txn, ctx.request, name), ctx.request)
    return f"{function.arn}:{name.qualifier}" if name.qualifier else function.arn


async def get_runtime_management_config(ctx: Context, request: Request) -> dict[str, Any]:
    """Auto: a function runs on the interpreter the host has, whenever it is updated."""
    return {"UpdateRuntimeOn": "Auto", "FunctionArn": await _arn(ctx, request)}


async def put_runtime_management_config(ctx: Context, request: Request) -> dict[str, Any]:
    """Auto, which holds on Tule. The others hold a function on a version of its runtime, of which Tule has none: it
    runs the interpreter that the host has."""
    if request["UpdateRuntimeOn"] != "Auto":
        raise OperationNotImplementedError(
            "lambda",
            "PutRuntimeManagementConfig",
            f"UpdateRuntimeOn is {request['UpdateRuntimeOn']}: Tule runs the interpreter that the host has, so it can "
            "hold no function on an older one.",
        )
    if request.get("RuntimeVersionArn"):
        raise InvalidParameterValueError("RuntimeVersionArn is only valid with UpdateRuntimeOn Manual.")
    return {"UpdateRuntimeOn": "Auto", "FunctionArn": await _arn(ctx, request)}


async def get_account_settings(ctx: Context, _request: Request) -> dict[str, Any]:
    functions = await state.list_functions(ctx.store, ctx.request)
    packages = [one.package for one in [*functions, *await state.list_versions(ctx.store, ctx.request)]]
    packages += [layer.package for layer in await list_layers(ctx.store, ctx.request)]
    return {
        "AccountLimit": {
            "TotalCodeSize": limits.CODE_STORAGE_BYTES,
            "CodeSizeUnzipped": limits.UNZIPPED_MAX_BYTES,
            "CodeSizeZipped": limits.ZIPPED_MAX_BYTES,
            "ConcurrentExecutions": limits.ACCOUNT_CONCURRENCY,
            "UnreservedConcurrentExecutions": limits.ACCOUNT_CONCURRENCY - await set_aside(ctx),
        },
        "AccountUsage": {
            "TotalCodeSize": sum(package.size_bytes for package in packages),
            "FunctionCount": len(functions),
        },
    }
