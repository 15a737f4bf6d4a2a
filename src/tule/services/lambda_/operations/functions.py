"""CreateFunction, Get*, ListFunctions, Update*, DeleteFunction."""

from collections.abc import Callable
from typing import Any

from msgspec.structs import replace

from tule.observe import ledger
from tule.services.declaration import Context
from tule.services.lambda_ import limits, state, views
from tule.services.lambda_.code_signing import check_signature
from tule.services.lambda_.execution import execution
from tule.services.lambda_.layers import check_total_size, use_layers
from tule.services.lambda_.lifecycle import CREATING, UPDATING, require_settled
from tule.services.lambda_.models import LATEST, Function, Logging
from tule.services.lambda_.names import (
    FunctionName,
    InvalidParameterValueError,
    PreconditionFailedError,
    ResourceConflictError,
    ResourceNotFoundError,
    function_not_found,
    only_unqualified,
    parse_name,
)
from tule.services.lambda_.packages import code_url, take_package
from tule.services.lambda_.publishing import publish
from tule.services.lambda_.qualifiers import is_alias, read_qualified
from tule.services.lambda_.settings import check_snap_start, check_tags, refuse_what_is_not_honoured, settings
from tule.store.transaction import Txn

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
    signing = request.get("CodeSigningConfigArn") or ""
    await check_signature(ctx, signing)
    layers = await use_layers(ctx, request.get("Layers") or [])
    package = await take_package(ctx, request["Code"])
    await check_total_size(ctx, package, layers)
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
        layers=layers,
        code_signing_arn=signing,
        **fields,
    )
    check_snap_start(function)

    version_revision = ctx.env.random.uuid()

    def create(txn: Txn) -> Function | None:
        if state.read_function(txn) is not None:
            raise ResourceConflictError(f"Function already exist: {name.name}")
        state.write_function(txn, function)
        if not request.get("Publish"):
            return None
        return publish(txn, function, description=None, revision=version_revision, modified_ms=now, status=CREATING)

    await execution(ctx.env).remember_place(name.account, name.region)
    version = await ctx.store.transact(state.function_shard(*name[:3]), create, ctx.request)
    await execution(ctx.env).changed(function)
    if version is None:
        return views.configuration(function)
    await execution(ctx.env).changed(version)
    return views.configuration(version)


async def _refuse_existing(ctx: Context, name: FunctionName) -> None:
    """Before a package is fetched and unpacked; the transaction that creates checks again."""
    if await ctx.store.read(state.function_shard(*name[:3]), state.read_function, ctx.request) is not None:
        raise ResourceConflictError(f"Function already exist: {name.name}")


async def _read(ctx: Context, request: Request) -> tuple[FunctionName, Function]:
    """What a request names: $LATEST without a qualifier, or the version that its qualifier means."""
    name = parse_name(ctx.request, request["FunctionName"], request.get("Qualifier") or "")
    shard = state.function_shard(*name[:3])
    return name, await ctx.store.read(shard, lambda txn: read_qualified(txn, ctx.request, name), ctx.request)


async def get_function(ctx: Context, request: Request) -> dict[str, Any]:
    name, function = await _read(ctx, request)
    location = code_url(ctx.env, ctx.request.base_url, function.package)
    result: dict[str, Any] = {
        "Configuration": views.configuration(function, name.qualifier),
        "Code": {"RepositoryType": "S3", "Location": location},
    }
    if function.tags:
        result["Tags"] = function.tags
    if function.reserved_concurrency is not None:
        result["Concurrency"] = {"ReservedConcurrentExecutions": function.reserved_concurrency}
    return result


async def get_function_configuration(ctx: Context, request: Request) -> dict[str, Any]:
    name, function = await _read(ctx, request)
    return views.configuration(function, name.qualifier)


async def list_functions(ctx: Context, request: Request) -> dict[str, Any]:
    """Up to 50 a page by name and version; the marker is the last entry of the page before."""
    page = min(request.get("MaxItems") or limits.LIST_PAGE, limits.LIST_PAGE)
    name, _, version = (request.get("Marker") or "").partition(":")
    every = request.get("FunctionVersion") == "ALL"
    found = await state.list_functions(ctx.store, ctx.request, name, page + 1)
    if every:
        after = state.version_entry(name, version if version.isdigit() else "0") if name else ""
        found += await state.list_versions(ctx.store, ctx.request, after, page + 1)
        found.sort(key=lambda one: (one.name, 0 if one.version == LATEST else int(one.version)))
    result: dict[str, Any] = {"Functions": [views.listed(one, one.version if every else "") for one in found[:page]]}
    if len(found) > page:
        last = found[page - 1]
        result["NextMarker"] = f"{last.name}:{last.version}" if every else last.name
    return result


def _updatable(function: Function, request: Request) -> None:
    require_settled(function)
    if request.get("RevisionId") and request["RevisionId"] != function.revision:
        raise PreconditionFailedError


async def _update(
    ctx: Context, name: FunctionName, request: Request, change: Callable[[Function], Function]
) -> tuple[Function, Function | None]:
    """$LATEST as it is now, and the version that was published from it if the request asks for one."""
    revision, version_revision, now = ctx.env.random.uuid(), ctx.env.random.uuid(), ctx.env.clock.now()

    def update(txn: Txn) -> tuple[Function, Function | None]:
        function = state.read_function(txn)
        if function is None:
            raise function_not_found(ctx.request, name)
        _updatable(function, request)
        changed = replace(change(function), revision=revision, modified_ms=now, status=UPDATING)
        state.write_function(txn, changed)
        if not request.get("Publish"):
            return changed, None
        return changed, publish(
            txn, changed, description=None, revision=version_revision, modified_ms=now, status=CREATING
        )

    function, version = await ctx.store.transact(state.function_shard(*name[:3]), update, ctx.request)
    await execution(ctx.env).changed(function)
    if version is not None:
        await execution(ctx.env).changed(version)
    return function, version


async def update_function_code(ctx: Context, request: Request) -> dict[str, Any]:
    refuse_what_is_not_honoured("UpdateFunctionCode", request)
    if request.get("ImageUri"):
        raise InvalidParameterValueError("Please don't provide ImageUri when updating a function with packageType Zip.")
    name, function = await _read(ctx, request)
    only_unqualified(name)
    _updatable(function, request)
    architecture = settings("UpdateFunctionCode", {"Architectures": request.get("Architectures")}, name.name)
    await check_signature(ctx, function.code_signing_arn)
    package = await take_package(ctx, request)
    await check_total_size(ctx, package, function.layers)
    if request.get("DryRun"):
        return views.configuration(replace(function, package=package, **architecture))
    changed, version = await _update(ctx, name, request, lambda old: replace(old, package=package, **architecture))
    return views.configuration(changed) if version is None else views.configuration(version, version.version)


async def update_function_configuration(ctx: Context, request: Request) -> dict[str, Any]:
    name, function = await _read(ctx, request)
    only_unqualified(name)
    fields = settings("UpdateFunctionConfiguration", request, name.name)
    if request.get("Layers") is not None:
        fields["layers"] = await use_layers(ctx, request["Layers"])
        await check_total_size(ctx, function.package, fields["layers"])
    changed, _ = await _update(ctx, name, request, lambda old: check_snap_start(replace(old, **fields)))
    return views.configuration(changed)


async def delete_function(ctx: Context, request: Request) -> dict[str, Any]:
    """The function with everything of it, or the version that is named; one that isn't there is no error, as on AWS."""
    name = parse_name(ctx.request, request["FunctionName"], request.get("Qualifier") or "")
    arn = ctx.request.arn("lambda", f"function:{name.name}")

    def delete(txn: Txn) -> None:
        if state.read_function(txn) is None:
            raise ResourceNotFoundError(f"Function not found: {arn}")
        if name.qualifier:
            _delete_version(txn, name)
            return
        waiting = len(state.scan_events(txn, 0, limits.EVENTS_WAITING_MAX))
        if waiting:
            ledger.record(txn, f"lambda:{name.name}/async", ledger.DROPPED, waiting)
            state.erase_events(txn)
        state.erase_function(txn, name.name)

    await ctx.store.transact(state.function_shard(*name[:3]), delete, ctx.request)
    if name.qualifier:
        execution(ctx.env).version_deleted(name, arn)
    else:
        await execution(ctx.env).deleted(name, arn)
    return {"StatusCode": 204}


def _delete_version(txn: Txn, name: FunctionName) -> None:
    if name.qualifier == LATEST:
        raise InvalidParameterValueError("$LATEST version cannot be deleted without deleting the function.")
    if is_alias(name.qualifier):
        raise InvalidParameterValueError("Deletion of functions by alias is not currently supported.")
    users = [alias.name for alias in state.all_aliases(txn) if name.qualifier in (alias.version, *alias.weights)]
    if users:
        raise ResourceConflictError(
            f"Unable to delete version because the following aliases reference it: [{', '.join(users)}]"
        )
    if state.read_version(txn, name.qualifier) is not None:
        state.erase_provisioned(txn, name.name, name.qualifier)
        state.erase_version(txn, name.name, name.qualifier)
