"""CreateFunction, Get*, ListFunctions, Update*, DeleteFunction."""

from collections.abc import Callable
from typing import Any

from msgspec.structs import replace

from tule.observe import ledger
from tule.services.declaration import Context
from tule.services.lambda_ import limits, state, views
from tule.services.lambda_.execution import execution
from tule.services.lambda_.models import Function, Logging, Status
from tule.services.lambda_.names import (
    PENDING,
    FunctionName,
    InvalidParameterValueError,
    PreconditionFailedError,
    ResourceConflictError,
    ResourceNotFoundError,
    function_not_found,
    only_latest,
    only_unqualified,
    parse_name,
)
from tule.services.lambda_.packages import code_url, take_package
from tule.services.lambda_.settings import check_tags, refuse_what_is_not_honoured, settings
from tule.store.transaction import Txn

CREATING = Status("Pending", "The function is being created.", "Creating", "")
UPDATING = Status(update="InProgress", update_reason="The function is being created.", update_reason_code="Creating")

Request = dict[str, Any]


async def create_function(ctx: Context, request: Request) -> dict[str, Any]:
    name = parse_name(ctx.request, request["FunctionName"])
    only_unqualified(name)
    if len(name.name) > limits.NAME_MAX:
        constraint = f"Member must have length less than or equal to {limits.NAME_MAX}"
        message = f"1 validation error detected: Value '{name.name}' at 'functionName' failed to satisfy constraint: "
        raise InvalidParameterValueError(message + constraint)
    fields = settings("CreateFunction", request, name.name)
    if "runtime" not in fields or "handler" not in fields:
        raise InvalidParameterValueError(
            "Runtime and Handler are mandatory parameters for functions created with deployment packages."
        )
    tags = dict(request.get("Tags") or {})
    check_tags(tags)
    await _refuse_existing(ctx, name)
    package = await take_package(ctx, request["Code"])
    now = ctx.env.clock.now()
    fields.setdefault("logging", Logging(f"/aws/lambda/{name.name}"))
    function = Function(
        name=name.name,
        account=name.account,
        region=name.region,
        partition=ctx.request.partition,
        package=package,
        revision=ctx.env.random.uuid(),
        modified_ms=now,
        created_ms=now,
        tags=tags,
        status=CREATING,
        **fields,
    )

    def create(txn: Txn) -> None:
        if state.read_function(txn) is not None:
            raise ResourceConflictError(f"Function already exist: {name.name}")
        state.write_function(txn, function)

    await execution(ctx.env).remember_place(name.account, name.region)
    await ctx.store.transact(state.function_shard(*name[:3]), create, ctx.request)
    await execution(ctx.env).changed(function)
    return views.configuration(function)


async def _refuse_existing(ctx: Context, name: FunctionName) -> None:
    """Before a package is fetched and unpacked; the transaction that creates checks again."""
    if await ctx.store.read(state.function_shard(*name[:3]), state.read_function, ctx.request) is not None:
        raise ResourceConflictError(f"Function already exist: {name.name}")


async def _read(ctx: Context, request: Request) -> tuple[FunctionName, Function]:
    name = parse_name(ctx.request, request["FunctionName"], request.get("Qualifier") or "")
    function = await ctx.store.read(state.function_shard(*name[:3]), state.read_function, ctx.request)
    if function is None:
        raise function_not_found(ctx.request, name)
    only_latest(ctx.request, name)
    return name, function


async def get_function(ctx: Context, request: Request) -> dict[str, Any]:
    name, function = await _read(ctx, request)
    location = code_url(ctx.env, ctx.request.base_url, function.package)
    result: dict[str, Any] = {
        "Configuration": views.configuration(function, qualified=bool(name.qualifier)),
        "Code": {"RepositoryType": "S3", "Location": location},
    }
    if function.tags:
        result["Tags"] = function.tags
    if function.reserved_concurrency is not None:
        result["Concurrency"] = {"ReservedConcurrentExecutions": function.reserved_concurrency}
    return result


async def get_function_configuration(ctx: Context, request: Request) -> dict[str, Any]:
    name, function = await _read(ctx, request)
    return views.configuration(function, qualified=bool(name.qualifier))


async def list_functions(ctx: Context, request: Request) -> dict[str, Any]:
    """Up to 50 a page in name order; the marker is the last name of the page before."""
    page = min(request.get("MaxItems") or limits.LIST_PAGE, limits.LIST_PAGE)
    found = await state.list_functions(ctx.store, ctx.request, request.get("Marker") or "", page + 1)
    qualified = request.get("FunctionVersion") == "ALL"
    result: dict[str, Any] = {
        "Functions": [views.configuration(function, qualified=qualified) for function in found[:page]]
    }
    if len(found) > page:
        result["NextMarker"] = found[page - 1].name
    return result


async def list_versions_by_function(ctx: Context, request: Request) -> dict[str, Any]:
    """$LATEST alone, since nothing can publish another version yet."""
    _, function = await _read(ctx, request)
    return {"Versions": [views.configuration(function, qualified=True)]}


def _updatable(function: Function, request: Request) -> None:
    if function.status.state == "Pending":
        raise ResourceConflictError(PENDING)
    if function.status.update == "InProgress":
        raise ResourceConflictError(
            f"The operation cannot be performed at this time. An update is in progress for resource: {function.arn}"
        )
    if request.get("RevisionId") and request["RevisionId"] != function.revision:
        raise PreconditionFailedError


async def _update(
    ctx: Context, name: FunctionName, request: Request, change: Callable[[Function], Function]
) -> Function:
    revision, now = ctx.env.random.uuid(), ctx.env.clock.now()

    def update(txn: Txn) -> Function:
        function = state.read_function(txn)
        if function is None:
            raise function_not_found(ctx.request, name)
        _updatable(function, request)
        changed = replace(change(function), revision=revision, modified_ms=now, status=UPDATING)
        state.write_function(txn, changed)
        return changed

    function = await ctx.store.transact(state.function_shard(*name[:3]), update, ctx.request)
    await execution(ctx.env).changed(function)
    return function


async def update_function_code(ctx: Context, request: Request) -> dict[str, Any]:
    refuse_what_is_not_honoured("UpdateFunctionCode", request)
    if request.get("ImageUri"):
        raise InvalidParameterValueError("Please don't provide ImageUri when updating a function with packageType Zip.")
    name, function = await _read(ctx, request)
    only_unqualified(name)
    _updatable(function, request)
    architecture = settings("UpdateFunctionCode", {"Architectures": request.get("Architectures")}, name.name)
    package = await take_package(ctx, request)
    if request.get("DryRun"):
        return views.configuration(replace(function, package=package, **architecture))
    changed = await _update(ctx, name, request, lambda old: replace(old, package=package, **architecture))
    return views.configuration(changed)


async def update_function_configuration(ctx: Context, request: Request) -> dict[str, Any]:
    name, _ = await _read(ctx, request)
    only_unqualified(name)
    fields = settings("UpdateFunctionConfiguration", request, name.name)
    changed = await _update(ctx, name, request, lambda old: replace(old, **fields))
    return views.configuration(changed)


async def delete_function(ctx: Context, request: Request) -> dict[str, Any]:
    name = parse_name(ctx.request, request["FunctionName"], request.get("Qualifier") or "")

    def delete(txn: Txn) -> None:
        function = state.read_function(txn)
        if function is None:
            raise ResourceNotFoundError(f"Function not found: {ctx.request.arn('lambda', 'function:' + name.name)}")
        if name.qualifier == "$LATEST":
            raise InvalidParameterValueError("$LATEST version cannot be deleted without deleting the function.")
        only_latest(ctx.request, name)
        waiting = len(state.scan_events(txn, 0, limits.EVENTS_WAITING_MAX))
        if waiting:
            ledger.record(txn, f"lambda:{name.name}/async", ledger.DROPPED, waiting)
            state.erase_events(txn)
        state.erase_function(txn, name.name)

    await ctx.store.transact(state.function_shard(*name[:3]), delete, ctx.request)
    await execution(ctx.env).deleted(name)
    return {"StatusCode": 204}
