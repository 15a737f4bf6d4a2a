"""Tags of functions and event source mappings."""

from collections.abc import Callable
from typing import Any, NamedTuple

from msgspec.structs import replace

from tule.kernel.arns import Arn
from tule.services.declaration import Context
from tule.services.lambda_ import state
from tule.services.lambda_.engine import behaviour
from tule.services.lambda_.execution import execution
from tule.services.lambda_.models import Function, Mapping
from tule.services.lambda_.names import (
    MAPPING_RESOURCE,
    InvalidParameterValueError,
    InvalidRequestError,
    ResourceNotFoundError,
)
from tule.services.lambda_.qualifiers import versions_behind
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


class _Retagged(NamedTuple):
    """A function whose instances have to be made anew, the versions that keep some ready, and how many these are."""

    function: Function
    provisioned: list[str]
    total: int


async def _retag(ctx: Context, text: str, change: Callable[[dict[str, str]], dict[str, str]]) -> None:
    tagged = _Tagged(ctx, text)

    def apply(txn: Txn) -> _Retagged | None:
        found = tagged.read(txn)
        tags = change(found.tags)
        check_tags(tags)
        if isinstance(found, Mapping):
            state.write_mapping(txn, replace(found, tags=tags))
            return None
        changed = replace(found, tags=tags)
        state.write_function(txn, changed)
        if behaviour(tags) == behaviour(found.tags):
            return None
        versions = [version for name in state.all_provisioned(txn) for version in versions_behind(txn, name)]
        return _Retagged(changed, versions, state.total_provisioned(txn))

    retagged = await ctx.store.transact(tagged.shard, apply, ctx.request)
    if retagged is not None:
        await execution(ctx.env).retagged(*retagged)


async def list_tags(ctx: Context, request: dict[str, Any]) -> dict[str, Any]:
    tagged = _Tagged(ctx, request["Resource"])
    return {"Tags": (await ctx.store.read(tagged.shard, tagged.read, ctx.request)).tags}


async def tag_resource(ctx: Context, request: dict[str, Any]) -> dict[str, Any]:
    if not request.get("Tags"):
        _Tagged(ctx, request["Resource"])
        raise InvalidParameterValueError("An error occurred and the request cannot be processed.")
    await _retag(ctx, request["Resource"], lambda tags: {**tags, **request["Tags"]})
    return {}


async def untag_resource(ctx: Context, request: dict[str, Any]) -> dict[str, Any]:
    gone = set(request["TagKeys"])
    await _retag(ctx, request["Resource"], lambda tags: {key: tags[key] for key in tags if key not in gone})
    return {}
