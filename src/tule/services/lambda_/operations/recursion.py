"""Whether a function may be invoked in a loop."""

from typing import Any

from tule.services.declaration import Context
from tule.services.lambda_ import invoking_state, state
from tule.services.lambda_.execution import execution
from tule.services.lambda_.names import FunctionName, function_not_found, only_unqualified, parse_name
from tule.store.transaction import ReadTxn, Txn

Request = dict[str, Any]

ALLOW = "Allow"
TERMINATE = "Terminate"


def _named(ctx: Context, request: Request) -> FunctionName:
    name = parse_name(ctx.request, request["FunctionName"])
    only_unqualified(name)
    return name


async def put_function_recursion_config(ctx: Context, request: Request) -> dict[str, Any]:
    name = _named(ctx, request)
    allowed = request["RecursiveLoop"] == ALLOW

    def put(txn: Txn) -> None:
        if state.read_function(txn) is None:
            raise function_not_found(ctx.request, name)
        invoking_state.allow_loops(txn, allowed=allowed)

    await ctx.store.transact(state.function_shard(*name[:3]), put, ctx.request)
    execution(ctx.env).guard.allow(name[:3], allowed=allowed)
    return {"RecursiveLoop": ALLOW if allowed else TERMINATE}


async def get_function_recursion_config(ctx: Context, request: Request) -> dict[str, Any]:
    name = _named(ctx, request)

    def read(txn: ReadTxn) -> bool:
        if state.read_function(txn) is None:
            raise function_not_found(ctx.request, name)
        return invoking_state.loops_allowed(txn)

    allowed = await ctx.store.read(state.function_shard(*name[:3]), read, ctx.request)
    return {"RecursiveLoop": ALLOW if allowed else TERMINATE}
