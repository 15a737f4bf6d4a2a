"""How a function's asynchronous invocations are retried and where their ends are told."""

from typing import Any

from msgspec.structs import replace

from tule.kernel.errors import AwsError, OperationNotImplementedError
from tule.services.declaration import Context
from tule.services.lambda_ import invoking_state, limits, state
from tule.services.lambda_.destinations import AWAITED, ON_FAILURE_ALONE, TELLERS
from tule.services.lambda_.invoke_config import InvokeConfig
from tule.services.lambda_.models import LATEST
from tule.services.lambda_.names import FunctionName, InvalidParameterValueError, ResourceNotFoundError, parse_name
from tule.services.lambda_.qualifiers import require_qualifier
from tule.store.transaction import ReadTxn, Txn

Request = dict[str, Any]


def _named(ctx: Context, request: Request) -> FunctionName:
    return parse_name(ctx.request, request["FunctionName"], request.get("Qualifier") or "")


def _arn(ctx: Context, name: FunctionName, qualifier: str) -> str:
    return ctx.request.arn("lambda", f"function:{name.name}:{qualifier or LATEST}")


def _view(ctx: Context, name: FunctionName, qualifier: str, config: InvokeConfig) -> dict[str, Any]:
    result: dict[str, Any] = {
        "LastModified": config.modified_ms / 1000,
        "FunctionArn": _arn(ctx, name, qualifier),
        "DestinationConfig": {
            "OnSuccess": {"Destination": config.on_success} if config.on_success else {},
            "OnFailure": {"Destination": config.on_failure} if config.on_failure else {},
        },
    }
    if config.retries is not None:
        result["MaximumRetryAttempts"] = config.retries
    if config.age_s is not None:
        result["MaximumEventAgeInSeconds"] = config.age_s
    return result


def _not_found(ctx: Context, name: FunctionName) -> ResourceNotFoundError:
    return ResourceNotFoundError(f"The function {_arn(ctx, name, name.qualifier)} doesn't have an EventInvokeConfig")


def _existing(ctx: Context, txn: ReadTxn, name: FunctionName) -> None:
    """Refuse a function, version or alias that isn't there, in this operation's own words."""
    try:
        require_qualifier(txn, ctx.request, name)
    except ResourceNotFoundError:
        raise ResourceNotFoundError("The function doesn't exist.") from None


# -- destinations


async def _destination(ctx: Context, name: FunctionName, request: Request, when: str) -> str | None:
    """The destination in the request, checked: None if the request doesn't speak of it, "" if it takes it away."""
    config = request.get("DestinationConfig") or {}
    if config.get(when) is None:
        return None
    arn: str = config[when].get("Destination") or ""
    if arn:
        await _check_destination(ctx, name, request, when, arn)
    return arn


async def _check_destination(ctx: Context, name: FunctionName, request: Request, when: str, arn: str) -> None:
    parts = arn.split(":", 5)
    service = parts[2] if len(parts) == 6 else ""
    misplaced = service in ON_FAILURE_ALONE and when != "OnFailure"
    if misplaced or service not in (*TELLERS, *AWAITED) or (service == "sqs" and arn.endswith(".fifo")):
        raise InvalidParameterValueError(f"The provided destination config {_spelled(request)} is invalid.")
    operation = ctx.request.operation
    if service in AWAITED:
        raise OperationNotImplementedError(
            "lambda", operation, f"A destination of {service} was given: Tule has sqs, lambda and s3."
        )
    own = (ctx.request.region, ctx.request.account)
    if service != "s3" and (parts[3], parts[4]) != own:
        raise OperationNotImplementedError(
            "lambda", operation, "The destination is in another account or region, where none is delivered to yet."
        )
    if service == "lambda":
        await _check_function(ctx, name, arn)


async def _check_function(ctx: Context, name: FunctionName, arn: str) -> None:
    target = parse_name(ctx.request, arn)
    if target.name == name.name:
        raise InvalidParameterValueError("You can't specify the function as a destination for itself.")

    def read(txn: ReadTxn) -> None:
        require_qualifier(txn, ctx.request, target)

    try:
        await ctx.store.read(state.function_shard(*target[:3]), read, ctx.request)
    except AwsError:
        raise InvalidParameterValueError(f"The destination ARN {arn} is invalid.") from None


def _spelled(request: Request) -> str:
    """A destination config as AWS's errors print it."""
    config = request.get("DestinationConfig") or {}

    def one(member: str) -> str:
        given = config.get(member)
        return "null" if given is None else f"{member}(destination={given.get('Destination') or 'null'})"

    return f"DestinationConfig(onSuccess={one('OnSuccess')}, onFailure={one('OnFailure')})"


# -- operations


def _require_something(request: Request) -> None:
    members = ("MaximumRetryAttempts", "MaximumEventAgeInSeconds", "DestinationConfig")
    if all(request.get(member) is None for member in members):
        raise InvalidParameterValueError("You must specify at least one of error handling or destination setting.")


async def _prepared(ctx: Context, name: FunctionName, request: Request) -> tuple[str | None, str | None]:
    """Both destinations, when it is clear that the function is there."""
    shard = state.function_shard(*name[:3])
    await ctx.store.read(shard, lambda txn: _existing(ctx, txn, name), ctx.request)
    return (
        await _destination(ctx, name, request, "OnSuccess"),
        await _destination(ctx, name, request, "OnFailure"),
    )


async def put_function_event_invoke_config(ctx: Context, request: Request) -> dict[str, Any]:
    """What the request leaves out is left to AWS's defaults."""
    _require_something(request)
    name = _named(ctx, request)
    on_success, on_failure = await _prepared(ctx, name, request)
    config = InvokeConfig(
        modified_ms=ctx.env.clock.now(),
        retries=request.get("MaximumRetryAttempts"),
        age_s=request.get("MaximumEventAgeInSeconds"),
        on_success=on_success or "",
        on_failure=on_failure or "",
    )

    def put(txn: Txn) -> None:
        _existing(ctx, txn, name)
        invoking_state.write_config(txn, name.qualifier, config)

    await ctx.store.transact(state.function_shard(*name[:3]), put, ctx.request)
    return _view(ctx, name, name.qualifier, config)


async def update_function_event_invoke_config(ctx: Context, request: Request) -> dict[str, Any]:
    """What the request leaves out stays as it is."""
    _require_something(request)
    name = _named(ctx, request)
    on_success, on_failure = await _prepared(ctx, name, request)
    now_ms = ctx.env.clock.now()

    def update(txn: Txn) -> InvokeConfig:
        _existing(ctx, txn, name)
        old = invoking_state.read_config(txn, name.qualifier)
        if old is None:
            raise _not_found(ctx, name)
        retries, age_s = request.get("MaximumRetryAttempts"), request.get("MaximumEventAgeInSeconds")
        config = replace(
            old,
            modified_ms=now_ms,
            retries=old.retries if retries is None else retries,
            age_s=old.age_s if age_s is None else age_s,
            on_success=old.on_success if on_success is None else on_success,
            on_failure=old.on_failure if on_failure is None else on_failure,
        )
        invoking_state.write_config(txn, name.qualifier, config)
        return config

    config = await ctx.store.transact(state.function_shard(*name[:3]), update, ctx.request)
    return _view(ctx, name, name.qualifier, config)


async def get_function_event_invoke_config(ctx: Context, request: Request) -> dict[str, Any]:
    name = _named(ctx, request)

    def read(txn: ReadTxn) -> InvokeConfig | None:
        return invoking_state.read_config(txn, name.qualifier)

    config = await ctx.store.read(state.function_shard(*name[:3]), read, ctx.request)
    if config is None:
        raise _not_found(ctx, name)
    return _view(ctx, name, name.qualifier, config)


async def delete_function_event_invoke_config(ctx: Context, request: Request) -> dict[str, Any]:
    name = _named(ctx, request)

    def delete(txn: Txn) -> None:
        if invoking_state.read_config(txn, name.qualifier) is None:
            raise _not_found(ctx, name)
        invoking_state.erase_config(txn, name.qualifier)

    await ctx.store.transact(state.function_shard(*name[:3]), delete, ctx.request)
    return {}


async def list_function_event_invoke_configs(ctx: Context, request: Request) -> dict[str, Any]:
    """By qualifier; the marker is the last qualifier of the page before."""
    name = parse_name(ctx.request, request["FunctionName"])
    page = min(request.get("MaxItems") or limits.LIST_PAGE, limits.LIST_PAGE)

    def read(txn: ReadTxn) -> list[tuple[str, InvokeConfig]]:
        if state.read_function(txn) is None:
            raise ResourceNotFoundError("The function doesn't exist.")
        return invoking_state.scan_configs(txn, request.get("Marker") or "", page + 1)

    found = await ctx.store.read(state.function_shard(*name[:3]), read, ctx.request)
    views = [_view(ctx, name, qualifier, config) for qualifier, config in found[:page]]
    result: dict[str, Any] = {"FunctionEventInvokeConfigs": views}
    if len(found) > page:
        result["NextMarker"] = found[page - 1][0]
    return result
