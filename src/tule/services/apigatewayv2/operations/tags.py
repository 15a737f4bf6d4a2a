"""Tags of APIs and stages."""

from typing import Any

from msgspec.structs import replace

from tule.kernel.arns import Arn
from tule.services.apigatewayv2 import checks, state
from tule.services.apigatewayv2.changes import BadRequestError, change, part, read
from tule.services.apigatewayv2.models import Api, Stage
from tule.services.declaration import Context
from tule.store.transaction import ReadTxn, Txn

Request = dict[str, Any]


def _named(text: str) -> tuple[str, str]:
    """(API id, stage name or "") of arn:aws:apigateway:region::/apis/{id}[/stages/{name}]."""
    arn = Arn.parse(text)
    parts = arn.resource.split("/") if arn is not None and arn.service == "apigateway" else []
    if len(parts) == 3 and parts[1] == "apis":
        return parts[2], ""
    if len(parts) == 5 and parts[1] == "apis" and parts[3] == "stages":
        return parts[2], parts[4]
    raise BadRequestError(f"Invalid resource ARN specified in the request: {text}")


def _tags(txn: ReadTxn, api: Api, stage: str) -> dict[str, str]:
    return part(txn, Stage, stage).tags if stage else api.tags


async def get_tags(ctx: Context, request: Request) -> dict[str, Any]:
    api_id, stage = _named(request["ResourceArn"])
    return {"Tags": await read(ctx, api_id, lambda txn, api: _tags(txn, api, stage))}


async def _retag(ctx: Context, text: str, add: dict[str, str], remove: set[str]) -> dict[str, Any]:
    api_id, stage = _named(text)

    def retag(txn: Txn, api: Api) -> None:
        tags = checks.tags({**{k: v for k, v in _tags(txn, api, stage).items() if k not in remove}, **add})
        if stage:
            state.write(txn, replace(part(txn, Stage, stage), tags=tags))
        else:
            state.write_api(txn, replace(api, tags=tags))

    await change(ctx, api_id, retag)
    return {}


async def tag_resource(ctx: Context, request: Request) -> dict[str, Any]:
    return await _retag(ctx, request["ResourceArn"], request.get("Tags") or {}, set())


async def untag_resource(ctx: Context, request: Request) -> dict[str, Any]:
    return await _retag(ctx, request["ResourceArn"], {}, set(request["TagKeys"]))
