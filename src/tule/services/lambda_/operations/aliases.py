"""Aliases: names for one version, or for two that share the traffic."""

from typing import Any

from tule.services.declaration import Context
from tule.services.lambda_ import limits, state, views
from tule.services.lambda_.execution import execution
from tule.services.lambda_.models import LATEST, Alias
from tule.services.lambda_.names import (
    FunctionName,
    InvalidParameterValueError,
    PreconditionFailedError,
    ResourceConflictError,
    ResourceNotFoundError,
    alias_not_found,
    arn_of,
    function_not_found,
    only_unqualified,
    parse_name,
)
from tule.services.lambda_.operations.provisioned import UNPUBLISHED, check_only_way
from tule.services.lambda_.qualifiers import versions_behind
from tule.store.transaction import ReadTxn, Txn

Request = dict[str, Any]


def _name(ctx: Context, request: Request) -> FunctionName:
    """The function's, with the alias as qualifier."""
    name = parse_name(ctx.request, request["FunctionName"])
    only_unqualified(name)
    return name._replace(qualifier=request["Name"])


def _arn(ctx: Context, name: FunctionName) -> str:
    return ctx.request.arn("lambda", f"function:{name.name}")


def _weights(request: Request) -> dict[str, float]:
    return dict((request.get("RoutingConfig") or {}).get("AdditionalVersionWeights") or {})


def _check_routing(ctx: Context, txn: ReadTxn, name: FunctionName, version: str, weights: dict[str, float]) -> None:
    """AWS's rules for what an alias may point to."""
    if len(weights) > 1:
        raise InvalidParameterValueError("Number of items in AdditionalVersionWeights cannot be greater than 1")
    if version in weights:
        raise InvalidParameterValueError(
            f"Invalid function version {version}. Function version {version} is already included in routing "
            "configuration."
        )
    if state.read_version(txn, version) is None:
        raise function_not_found(ctx.request, name._replace(qualifier=version))
    if version == LATEST and weights:
        raise InvalidParameterValueError("$LATEST is not supported for an alias pointing to more than 1 version")
    for other in weights:
        if state.read_version(txn, other) is None:
            raise function_not_found(ctx.request, name._replace(qualifier=other))


async def create_alias(ctx: Context, request: Request) -> dict[str, Any]:
    name, weights = _name(ctx, request), _weights(request)
    alias = Alias(
        name=request["Name"],
        version=request["FunctionVersion"],
        revision=ctx.env.random.uuid(),
        description=request.get("Description") or "",
        weights=weights,
    )

    def create(txn: Txn) -> None:
        _check_routing(ctx, txn, name, alias.version, weights)
        if state.read_alias(txn, alias.name) is not None:
            raise ResourceConflictError(f"Alias already exists: {arn_of(ctx.request, name)}")
        state.write_alias(txn, alias)

    await ctx.store.transact(state.function_shard(*name[:3]), create, ctx.request)
    return views.alias_configuration(alias, _arn(ctx, name))


async def get_alias(ctx: Context, request: Request) -> dict[str, Any]:
    name = _name(ctx, request)

    def read(txn: ReadTxn) -> Alias:
        alias = state.read_alias(txn, name.qualifier)
        if alias is None:
            raise alias_not_found(ctx.request, name)
        return alias

    alias = await ctx.store.read(state.function_shard(*name[:3]), read, ctx.request)
    return views.alias_configuration(alias, _arn(ctx, name))


async def list_aliases(ctx: Context, request: Request) -> dict[str, Any]:
    """By name, those of one version if asked; the marker is the last name of the page before."""
    name = parse_name(ctx.request, request["FunctionName"])
    only_unqualified(name)
    page = min(request.get("MaxItems") or limits.LIST_PAGE, limits.LIST_PAGE)
    version = request.get("FunctionVersion")

    def read(txn: ReadTxn) -> list[Alias]:
        if state.read_function(txn) is None:
            raise function_not_found(ctx.request, name)
        aliases = state.all_aliases(txn, request.get("Marker") or "")
        return [alias for alias in aliases if version in (None, alias.version, *alias.weights)]

    found = await ctx.store.read(state.function_shard(*name[:3]), read, ctx.request)
    result: dict[str, Any] = {"Aliases": [views.alias_configuration(alias, _arn(ctx, name)) for alias in found[:page]]}
    if len(found) > page:
        result["NextMarker"] = found[page - 1].name
    return result


def _provisioned_behind(txn: ReadTxn, alias: str) -> list[str]:
    """The versions that have provisioned instances by an alias."""
    return [] if state.read_provisioned(txn, alias) is None else versions_behind(txn, alias)


def _check_provisioning(txn: ReadTxn, alias: Alias) -> None:
    """Its provisioned instances follow an alias, so it can't go where there can be none."""
    if alias.version == LATEST:
        raise InvalidParameterValueError(UNPUBLISHED)
    check_only_way(txn, alias.name, [alias.version, *alias.weights])


async def update_alias(ctx: Context, request: Request) -> dict[str, Any]:
    """What is not named stays; an empty RoutingConfig ends the sharing."""
    name, revision = _name(ctx, request), ctx.env.random.uuid()

    def update(txn: Txn) -> tuple[Alias, list[str], int]:
        old = state.read_alias(txn, name.qualifier)
        if old is None:
            raise ResourceNotFoundError(f"Alias not found: {arn_of(ctx.request, name)}")
        if request.get("RevisionId") and request["RevisionId"] != old.revision:
            raise PreconditionFailedError
        description = request.get("Description")
        alias = Alias(
            name=old.name,
            version=request.get("FunctionVersion") or old.version,
            revision=revision,
            description=old.description if description is None else description,
            weights=old.weights if request.get("RoutingConfig") is None else _weights(request),
        )
        _check_routing(ctx, txn, name, alias.version, alias.weights)
        touched = _provisioned_behind(txn, old.name)
        if touched:
            _check_provisioning(txn, alias)
        state.write_alias(txn, alias)
        return alias, [*touched, *_provisioned_behind(txn, old.name)], state.total_provisioned(txn)

    alias, touched, total = await ctx.store.transact(state.function_shard(*name[:3]), update, ctx.request)
    execution(ctx.env).provision(name, dict.fromkeys(touched), total)
    return views.alias_configuration(alias, _arn(ctx, name))


async def delete_alias(ctx: Context, request: Request) -> dict[str, Any]:
    """With its policy and its provisioned concurrency. One that isn't there is no error, as on AWS."""
    name = _name(ctx, request)

    def delete(txn: Txn) -> tuple[list[str], int]:
        if state.read_function(txn) is None:
            raise function_not_found(ctx.request, name._replace(qualifier=""))
        touched = _provisioned_behind(txn, name.qualifier)
        state.erase_provisioned(txn, name.name, name.qualifier)
        state.erase_alias(txn, name.qualifier)
        return touched, state.total_provisioned(txn)

    touched, total = await ctx.store.transact(state.function_shard(*name[:3]), delete, ctx.request)
    execution(ctx.env).provision(name, touched, total)
    return {}
