"""How an API is read and changed: the one place that checks whose it is and deploys what deploys itself."""

from collections.abc import Callable
from typing import Any, TypeVar

from msgspec.structs import replace

from tule.kernel.errors import AwsError, OperationNotImplementedError
from tule.kernel.randomness import RandomSource
from tule.services.apigatewayv2 import state
from tule.services.apigatewayv2.models import Api, Deployment, Integration, Route, Stage
from tule.services.declaration import Context, Environment
from tule.store.transaction import ReadTxn, Txn

T = TypeVar("T")
P = TypeVar("P", Route, Integration, Stage, Deployment)

_ALPHABET = "abcdefghijklmnopqrstuvwxyz0123456789"


class BadRequestError(AwsError):
    code = "BadRequestException"


class NotFoundError(AwsError):
    code = "NotFoundException"
    status = 404


class ConflictError(AwsError):
    code = "ConflictException"
    status = 409


def new_id(random: RandomSource, length: int) -> str:
    """An id as API Gateway's: letters and digits, the first a letter."""
    return _ALPHABET[random.below(26)] + "".join(_ALPHABET[random.below(36)] for _ in range(length - 1))


def refuse(operation: str, request: dict[str, Any], members: dict[str, str]) -> None:
    """Name the first member that is set and not honoured."""
    for member, why in members.items():
        if request.get(member):
            raise OperationNotImplementedError("apigatewayv2", operation, f"{member} was given. {why}")


def owned(ctx: Context, txn: ReadTxn, api_id: str) -> Api:
    """The API, if it exists and is the caller's."""
    api = state.read_api(txn)
    if api is None or (api.account, api.region) != (ctx.request.account, ctx.request.region):
        raise NotFoundError(f"Invalid API identifier specified {ctx.request.account}:{api_id}")
    return api


def part(txn: ReadTxn, kind: type[P], name: str) -> P:
    """A part of the API at hand, which must exist."""
    found = state.read(txn, kind, name)
    if found is None:
        raise NotFoundError(f"Invalid {kind.__name__} identifier specified")
    return found


async def read(ctx: Context, api_id: str, work: Callable[[ReadTxn, Api], T]) -> T:
    """Run `work` on an API of the caller's."""
    return await ctx.store.read(state.api_shard(api_id), lambda txn: work(txn, owned(ctx, txn, api_id)), ctx.request)


async def change(ctx: Context, api_id: str, work: Callable[[Txn, Api], T], *, deploys: bool = False) -> T:
    """Change an API of the caller's in one transaction; with `deploys`, stages that deploy themselves follow."""
    deployment_id = new_id(ctx.env.random, 6)

    def run(txn: Txn) -> T:
        api = owned(ctx, txn, api_id)
        result = work(txn, api)
        if deploys:
            deploy_automatically(txn, deployment_id)
        return result

    result = await ctx.store.transact(state.api_shard(api_id), run, ctx.request)
    forget_served(ctx.env, api_id)
    return result


def forget_served(env: Environment, api_id: str) -> None:
    """Let the next request compile the API's routes anew."""
    env.state.setdefault("served", {}).pop(api_id, None)


def snapshot(txn: Txn, deployment_id: str, *, description: str = "", automatic: bool = False) -> Deployment:
    """The routes and integrations as they are now, as a deployment."""
    deployment = Deployment(
        id=deployment_id,
        created_ms=txn.now,
        routes=state.read_all(txn, Route),
        integrations=state.read_all(txn, Integration),
        description=description,
        automatic=automatic,
    )
    state.write(txn, deployment)
    return deployment


def deploy_automatically(txn: Txn, deployment_id: str) -> None:
    """A new deployment for the stages that deploy themselves; the one they had goes, as nobody else may use it."""
    stages = [stage for stage in state.read_all(txn, Stage) if stage.auto_deploy]
    if not stages:
        return
    used = {stage.deployment for stage in state.read_all(txn, Stage) if not stage.auto_deploy}
    for old in state.read_all(txn, Deployment):
        if old.automatic and old.id not in used:
            state.erase(txn, old)
    snapshot(txn, deployment_id, description="Automatic deployment triggered by changes to the Api configuration",
             automatic=True)  # fmt: skip
    message = f"Successfully deployed stage with deployment ID '{deployment_id}'"
    for stage in stages:
        state.write(txn, replace(stage, deployment=deployment_id, updated_ms=txn.now, message=message))


def page(items: list[Any], request: dict[str, Any], name: Callable[[Any], str]) -> tuple[list[Any], str | None]:
    """The page of `items` (sorted by `name`) that MaxResults and NextToken ask for, and the next token."""
    try:
        size = int(request.get("MaxResults") or 100)
    except ValueError:
        raise BadRequestError("Invalid value for maxResults") from None
    after = request.get("NextToken") or ""
    rest = [item for item in items if name(item) > after]
    return rest[:size], name(rest[size - 1]) if len(rest) > size else None
