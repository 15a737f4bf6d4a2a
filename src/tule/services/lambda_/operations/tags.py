"""Tags of functions and event source mappings."""

from typing import Any

from msgspec.structs import replace

from tule.kernel.arns import Arn
from tule.services.declaration import Context
from tule.services.lambda_ import state
from tule.services.lambda_.models import Function, Mapping
from tule.services.lambda_.names import (
    MAPPING_RESOURCE,
    InvalidParameterValueError,
    InvalidRequestError,
    ResourceNotFoundError,
)
from tule.services.lambda_.settings import check_tags
from tule.store.transaction import ReadTxn, ShardKey, Txn

RESOURCE_PATTERN = (
    r"arn:(aws[a-zA-Z-]*):lambda:(eusc-)?[a-z]{2}((-gov)|(-iso([a-z]?)))?-[a-z]+-\d{1}:\d{12}:"
    r"(function:[a-zA-Z0-9-_]+(:(\$LATEST|[a-zA-Z0-9-_]+))?|layer:([a-zA-Z0-9-_]+)|code-signing-config:csc-[a-z0-9]{17}|"
    r"event-source-mapping:[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12})"
)


class _Tagged:
    """The function or mapping that an ARN names."""

    def __init__(self, ctx: Context, text: str) -> None:
        arn = Arn.parse(text)
        if arn is None or arn.service != "lambda":
            raise InvalidRequestError(
                text, "resource", f"Member must satisfy regular expression pattern: {RESOURCE_PATTERN}"
            )
        self.text = text
        self.mapping = arn.resource.removeprefix(MAPPING_RESOURCE) if arn.resource.startswith(MAPPING_RESOURCE) else ""
        kind, _, name = arn.resource.partition(":")
        if not self.mapping and kind != "function":
            raise InvalidRequestError(
                text, "resource", f"Member must satisfy regular expression pattern: {RESOURCE_PATTERN}"
            )
        if not self.mapping and ":" in name:
            raise InvalidParameterValueError(
                "Tags on function aliases and versions are not supported. Please specify a function ARN."
            )
        account, region = ctx.request.account, ctx.request.region
        self.shard: ShardKey = (
            state.mappings_shard(account, region) if self.mapping else state.function_shard(account, region, name)
        )

    def read(self, txn: ReadTxn) -> Function | Mapping:
        found = state.read_mapping(txn, self.mapping) if self.mapping else state.read_function(txn)
        if found is None:
            what = "Event source mapping" if self.mapping else "Function"
            raise ResourceNotFoundError(f"{what} not found: {self.text}")
        return found

    def write(self, txn: Txn, tags: dict[str, str]) -> None:
        check_tags(tags)
        found = self.read(txn)
        if isinstance(found, Mapping):
            state.write_mapping(txn, replace(found, tags=tags))
        else:
            state.write_function(txn, replace(found, tags=tags))


async def list_tags(ctx: Context, request: dict[str, Any]) -> dict[str, Any]:
    tagged = _Tagged(ctx, request["Resource"])
    return {"Tags": (await ctx.store.read(tagged.shard, tagged.read, ctx.request)).tags}


async def tag_resource(ctx: Context, request: dict[str, Any]) -> dict[str, Any]:
    tagged = _Tagged(ctx, request["Resource"])
    if not request.get("Tags"):
        raise InvalidParameterValueError("An error occurred and the request cannot be processed.")

    def tag(txn: Txn) -> None:
        tagged.write(txn, {**tagged.read(txn).tags, **request["Tags"]})

    await ctx.store.transact(tagged.shard, tag, ctx.request)
    return {}


async def untag_resource(ctx: Context, request: dict[str, Any]) -> dict[str, Any]:
    tagged = _Tagged(ctx, request["Resource"])
    gone = set(request["TagKeys"])

    def untag(txn: Txn) -> None:
        tagged.write(txn, {key: value for key, value in tagged.read(txn).tags.items() if key not in gone})

    await ctx.store.transact(tagged.shard, untag, ctx.request)
    return {}
