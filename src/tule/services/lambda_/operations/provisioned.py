"""Provisioned concurrency of versions and aliases: stored here, kept ready by the function runtime."""

from typing import Any, Final

from tule.kernel.errors import AwsError
from tule.services.declaration import Context
from tule.services.lambda_ import limits, state, views
from tule.services.lambda_.execution import execution
from tule.services.lambda_.models import LATEST, Function, Provisioned
from tule.services.lambda_.names import (
    FunctionName,
    InvalidParameterValueError,
    ResourceConflictError,
    only_unqualified,
    parse_name,
)
from tule.services.lambda_.qualifiers import (
    is_alias,
    read_alias,
    read_qualified,
    require_qualifier,
    versions_behind,
)
from tule.services.lambda_.readiness import Readiness, readiness
from tule.store.transaction import ReadTxn, Txn

Request = dict[str, Any]

UNPUBLISHED: Final = "Provisioned Concurrency Configs cannot be applied to unpublished function versions."


class ConfigNotFoundError(AwsError):
    code = "ProvisionedConcurrencyConfigNotFoundException"
    status = 404

    def __init__(self) -> None:
        super().__init__("No Provisioned Concurrency Config found for this function", members={"Type": "User"})


async def put_provisioned_concurrency_config(ctx: Context, request: Request) -> dict[str, Any]:
    """Take it on; the instances come up afterwards, and the status tells when they are there."""
    name = parse_name(ctx.request, request["FunctionName"], request["Qualifier"])
    if name.qualifier == LATEST:
        raise InvalidParameterValueError(UNPUBLISHED)
    requested = int(request["ProvisionedConcurrentExecutions"])
    others = await set_aside(ctx, without=name.name)
    config = Provisioned(name.qualifier, requested, ctx.env.clock.now())

    def put(txn: Txn) -> tuple[list[str], int]:
        require_qualifier(txn, ctx.request, name)
        function = read_qualified(txn, ctx.request, name)
        _check_version(txn, function, name.qualifier)
        _check_capacity(txn, function, config, others)
        state.write_provisioned(txn, name.name, config)
        return versions_behind(txn, name.qualifier), state.total_provisioned(txn)

    versions, total = await ctx.store.transact(state.function_shard(*name[:3]), put, ctx.request)
    execution(ctx.env).provision(name, versions, total)
    return views.provisioned_configuration(config, Readiness(0, 0, ""), status="IN_PROGRESS")


def _check_version(txn: ReadTxn, function: Function, qualifier: str) -> None:
    """A version gets its instances by one way: its own configuration, or that of one alias."""
    if function.version == LATEST:
        raise InvalidParameterValueError(UNPUBLISHED)
    if function.snap_start:
        raise InvalidParameterValueError(
            "Provisioned concurrency can't be configured for a version with SnapStart. Publish a version without it."
        )
    check_only_way(txn, qualifier, versions_behind(txn, qualifier))


def check_only_way(txn: ReadTxn, qualifier: str, versions: list[str]) -> None:
    """Refuse provisioned concurrency for `qualifier` where one of its `versions` has some by another way."""
    for other in state.all_provisioned(txn):
        if other == qualifier or not set(versions_behind(txn, other)) & set(versions):
            continue
        if is_alias(qualifier):
            raise ResourceConflictError(
                "Alias can't be used for Provisioned Concurrency configuration on an already Provisioned version"
            )
        raise ResourceConflictError("Version is pointed by a Provisioned Concurrency alias")


def _check_capacity(txn: ReadTxn, function: Function, config: Provisioned, others: int) -> None:
    own = state.all_provisioned(txn)
    total = config.requested + sum(one.requested for name, one in own.items() if name != config.qualifier)
    if function.reserved_concurrency is not None:
        if total > function.reserved_concurrency:
            raise InvalidParameterValueError(
                "Requested Provisioned Concurrency should not be greater than the reservedConcurrentExecution for "
                "function"
            )
        return
    unreserved = limits.ACCOUNT_CONCURRENCY - others
    if total > unreserved:
        raise InvalidParameterValueError(
            "Specified ConcurrentExecutions for function is greater than account's unreserved concurrency "
            f"[{unreserved}]."
        )
    if unreserved - total < limits.UNRESERVED_MINIMUM:
        raise InvalidParameterValueError(
            "Specified ConcurrentExecutions for function decreases account's UnreservedConcurrentExecution below its "
            f"minimum value of [{limits.UNRESERVED_MINIMUM}]."
        )


async def set_aside(ctx: Context, without: str = "") -> int:
    """What functions of the account have for themselves: a reservation, or else their provisioned instances."""
    functions = {f.name: f.reserved_concurrency for f in await state.list_functions(ctx.store, ctx.request)}
    provisioned = await state.list_provisioned(ctx.store, ctx.request)
    reserved = sum(kept or 0 for name, kept in functions.items() if name != without)
    return reserved + sum(
        config.requested for name, config in provisioned if name != without and functions.get(name) is None
    )


def _target(ctx: Context, request: Request) -> FunctionName:
    name = parse_name(ctx.request, request["FunctionName"], request["Qualifier"])
    if name.qualifier == LATEST:
        raise InvalidParameterValueError("The function resource provided must be an alias or a published version.")
    return name


async def get_provisioned_concurrency_config(ctx: Context, request: Request) -> dict[str, Any]:
    name = _target(ctx, request)

    def read(txn: ReadTxn) -> tuple[Provisioned, dict[str, int]]:
        require_qualifier(txn, ctx.request, name)
        config = state.read_provisioned(txn, name.qualifier)
        if config is None:
            raise ConfigNotFoundError
        return config, _shares(txn, config)

    config, shares = await ctx.store.read(state.function_shard(*name[:3]), read, ctx.request)
    return views.provisioned_configuration(config, readiness(ctx.env, _arn(ctx, name), shares))


def _arn(ctx: Context, name: FunctionName) -> str:
    return ctx.request.arn("lambda", f"function:{name.name}")


def _shares(txn: ReadTxn, config: Provisioned) -> dict[str, int]:
    """By version, how many of the instances are its."""
    alias = read_alias(txn, config.qualifier)
    return {version: config.share(alias, version) for version in versions_behind(txn, config.qualifier)}


async def list_provisioned_concurrency_configs(ctx: Context, request: Request) -> dict[str, Any]:
    """By qualifier; the marker is the last one of the page before."""
    name = parse_name(ctx.request, request["FunctionName"])
    only_unqualified(name)
    page = request.get("MaxItems") or limits.LIST_PAGE

    def read(txn: ReadTxn) -> list[tuple[Provisioned, dict[str, int]]]:
        read_qualified(txn, ctx.request, name)
        configs = sorted(state.all_provisioned(txn).values(), key=lambda config: config.qualifier)
        return [(one, _shares(txn, one)) for one in configs if one.qualifier > (request.get("Marker") or "")]

    found = await ctx.store.read(state.function_shard(*name[:3]), read, ctx.request)
    arn = _arn(ctx, name)
    configs = [
        {
            "FunctionArn": f"{arn}:{config.qualifier}",
            **views.provisioned_configuration(config, readiness(ctx.env, arn, shares)),
        }
        for config, shares in found[:page]
    ]
    result: dict[str, Any] = {"ProvisionedConcurrencyConfigs": configs}
    if len(found) > page:
        result["NextMarker"] = found[page - 1][0].qualifier
    return result


async def delete_provisioned_concurrency_config(ctx: Context, request: Request) -> dict[str, Any]:
    """The instances become ordinary ones. A configuration that isn't there is no error, as on AWS."""
    name = _target(ctx, request)

    def delete(txn: Txn) -> tuple[list[str], int]:
        require_qualifier(txn, ctx.request, name)
        state.erase_provisioned(txn, name.name, name.qualifier)
        return versions_behind(txn, name.qualifier), state.total_provisioned(txn)

    versions, total = await ctx.store.transact(state.function_shard(*name[:3]), delete, ctx.request)
    execution(ctx.env).provision(name, versions, total)
    return {}
