"""Code signing configurations, and the one that a function has."""

from typing import Any, Final

from msgspec.structs import replace

from tule.kernel.errors import OperationNotImplementedError
from tule.services.declaration import Context
from tule.services.lambda_ import code_signing, limits, state, views
from tule.services.lambda_.code_signing import CodeSigning, require_config
from tule.services.lambda_.models import Function
from tule.services.lambda_.names import (
    FunctionName,
    InvalidParameterValueError,
    ResourceConflictError,
    function_not_found,
    only_unqualified,
    parse_name,
)
from tule.store.transaction import ReadTxn, ShardKey, Txn

Request = dict[str, Any]

_ALPHABET: Final = "abcdefghijklmnopqrstuvwxyz0123456789"


def _shard(ctx: Context) -> ShardKey:
    return code_signing.shard(ctx.request.account, ctx.request.region)


def _policy(request: Request) -> str | None:
    return (request.get("CodeSigningPolicies") or {}).get("UntrustedArtifactOnDeployment")


async def create_code_signing_config(ctx: Context, request: Request) -> dict[str, Any]:
    if request.get("Tags"):
        raise OperationNotImplementedError(
            "lambda", "CreateCodeSigningConfig", "Tags was given: configurations have none."
        )
    config_id = "csc-" + "".join(_ALPHABET[ctx.env.random.below(len(_ALPHABET))] for _ in range(17))
    config = CodeSigning(
        id=config_id,
        arn=ctx.request.arn("lambda", f"code-signing-config:{config_id}"),
        publishers=tuple(request["AllowedPublishers"]["SigningProfileVersionArns"]),
        policy=_policy(request) or "Warn",
        modified_ms=ctx.env.clock.now(),
        description=request.get("Description") or "",
    )
    await ctx.store.transact(_shard(ctx), lambda txn: code_signing.write_config(txn, config), ctx.request)
    return {"CodeSigningConfig": views.code_signing_configuration(config)}


async def get_code_signing_config(ctx: Context, request: Request) -> dict[str, Any]:
    arn = request["CodeSigningConfigArn"]
    config = await ctx.store.read(_shard(ctx), lambda txn: require_config(txn, arn), ctx.request)
    return {"CodeSigningConfig": views.code_signing_configuration(config)}


async def update_code_signing_config(ctx: Context, request: Request) -> dict[str, Any]:
    """What is not named stays."""
    now = ctx.env.clock.now()

    def update(txn: Txn) -> CodeSigning:
        old = require_config(txn, request["CodeSigningConfigArn"])
        description, publishers = request.get("Description"), request.get("AllowedPublishers")
        config = replace(
            old,
            description=old.description if description is None else description,
            publishers=tuple(publishers["SigningProfileVersionArns"]) if publishers else old.publishers,
            policy=_policy(request) or old.policy,
            modified_ms=now,
        )
        code_signing.write_config(txn, config)
        return config

    config = await ctx.store.transact(_shard(ctx), update, ctx.request)
    return {"CodeSigningConfig": views.code_signing_configuration(config)}


async def delete_code_signing_config(ctx: Context, request: Request) -> dict[str, Any]:
    arn = request["CodeSigningConfigArn"]
    if await _users(ctx, arn):
        raise ResourceConflictError("Cannot delete a code signing configuration that functions use.")

    def delete(txn: Txn) -> None:
        require_config(txn, arn)
        code_signing.erase_config(txn, code_signing.id_in(arn))

    await ctx.store.transact(_shard(ctx), delete, ctx.request)
    return {}


async def list_code_signing_configs(ctx: Context, request: Request) -> dict[str, Any]:
    """By id; the marker is the last one of the page before."""
    page = min(request.get("MaxItems") or limits.LIST_PAGE, limits.LIST_PAGE)
    configs = await ctx.store.read(_shard(ctx), code_signing.all_configs, ctx.request)
    found = [config for config in configs if config.id > (request.get("Marker") or "")]
    result: dict[str, Any] = {
        "CodeSigningConfigs": [views.code_signing_configuration(config) for config in found[:page]]
    }
    if len(found) > page:
        result["NextMarker"] = found[page - 1].id
    return result


async def _users(ctx: Context, arn: str) -> list[Function]:
    functions = await state.list_functions(ctx.store, ctx.request)
    return [function for function in functions if function.code_signing_arn == arn]


async def list_functions_by_code_signing_config(ctx: Context, request: Request) -> dict[str, Any]:
    """By name; the marker is the last one of the page before."""
    arn = request["CodeSigningConfigArn"]
    await ctx.store.read(_shard(ctx), lambda txn: require_config(txn, arn), ctx.request)
    page = min(request.get("MaxItems") or limits.LIST_PAGE, limits.LIST_PAGE)
    found = [function for function in await _users(ctx, arn) if function.name > (request.get("Marker") or "")]
    result: dict[str, Any] = {"FunctionArns": [function.arn for function in found[:page]]}
    if len(found) > page:
        result["NextMarker"] = found[page - 1].name
    return result


def _function_name(ctx: Context, request: Request) -> FunctionName:
    name = parse_name(ctx.request, request["FunctionName"])
    only_unqualified(name)
    return name


def _existing(ctx: Context, txn: ReadTxn, name: FunctionName) -> Function:
    function = state.read_function(txn)
    if function is None:
        raise function_not_found(ctx.request, name)
    return function


async def _attach(ctx: Context, name: FunctionName, arn: str) -> None:
    """It acts on the next deployment of code: what is deployed stays."""

    def attach(txn: Txn) -> None:
        state.write_function(txn, replace(_existing(ctx, txn, name), code_signing_arn=arn))

    await ctx.store.transact(state.function_shard(*name[:3]), attach, ctx.request)


async def put_function_code_signing_config(ctx: Context, request: Request) -> dict[str, Any]:
    name, arn = _function_name(ctx, request), request["CodeSigningConfigArn"]
    if not code_signing.ID.fullmatch(code_signing.id_in(arn)):
        raise InvalidParameterValueError(f"{arn} is the ARN of no code signing configuration.")
    await code_signing.attachable(ctx, arn)
    await _attach(ctx, name, arn)
    return {"CodeSigningConfigArn": arn, "FunctionName": name.name}


async def get_function_code_signing_config(ctx: Context, request: Request) -> dict[str, Any]:
    name = _function_name(ctx, request)
    shard = state.function_shard(*name[:3])
    function = await ctx.store.read(shard, lambda txn: _existing(ctx, txn, name), ctx.request)
    return {"CodeSigningConfigArn": function.code_signing_arn, "FunctionName": name.name}


async def delete_function_code_signing_config(ctx: Context, request: Request) -> dict[str, Any]:
    await _attach(ctx, _function_name(ctx, request), "")
    return {}
