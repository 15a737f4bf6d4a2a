"""Layer names and ARNs, who may use a layer, and the layers that a function asks for."""

import re
from collections.abc import Sequence
from typing import Any, Final, NamedTuple

from tule.kernel.context import RequestContext
from tule.kernel.errors import AwsError
from tule.services.declaration import Context
from tule.services.lambda_ import limits
from tule.services.lambda_.execution import execution
from tule.services.lambda_.layer_state import layer_shard, read_layer, read_layer_policy
from tule.services.lambda_.models import Layer, LayerUse, Package, Policy
from tule.services.lambda_.names import InvalidParameterValueError, ResourceNotFoundError
from tule.store.transaction import ReadTxn

NOT_FOUND: Final = "The resource you requested does not exist."
ACTION: Final = "lambda:GetLayerVersion"

_ARN = re.compile(
    r"arn:(?P<partition>[a-zA-Z0-9-]+):lambda:(?P<region>[a-z0-9-]+):(?P<account>\d{12}):layer:"
    r"(?P<name>[a-zA-Z0-9-_]+)(?::(?P<version>\d{1,18}))?"
)


class LayerName(NamedTuple):
    """What a caller's LayerName, and perhaps its version, mean."""

    account: str
    region: str
    name: str
    version: int = 0
    """0 if there is none."""

    def arn(self, context: RequestContext) -> str:
        """With the version, if there is one."""
        tail = f":{self.version}" if self.version else ""
        return f"arn:{context.partition}:lambda:{self.region}:{self.account}:layer:{self.name}{tail}"


def parse_layer(context: RequestContext, text: str, version: int | None = None) -> LayerName:
    """A layer's name or ARN, with the version that came beside it; refuses numbers below 1."""
    if version is not None and version < 1:
        raise InvalidParameterValueError("Layer Version Cannot be less than 1")
    match = _ARN.fullmatch(text)
    if match is None:
        return LayerName(context.account, context.region, text, version or 0)
    number = version if version is not None else int(match["version"] or 0)
    return LayerName(match["account"], match["region"], match["name"], number)


def may_use(context: RequestContext, policy: Policy | None) -> bool:
    """Whether a layer version's policy lets the context's account use it. Organizations don't exist in Tule."""
    root = f"arn:{context.partition}:iam::{context.account}:root"
    principals: list[Any] = (
        [] if policy is None else [s["Principal"] for s in policy.statements if "Condition" not in s]
    )
    return any(principal in ("*", {"AWS": root}) for principal in principals)


async def find_layer(ctx: Context, name: LayerName) -> Layer | None:
    """A layer version that the caller may use, None if there is none; refuses one of an account that grants nothing."""

    def read(txn: ReadTxn) -> tuple[Layer | None, Policy | None]:
        return read_layer(txn, name.version), read_layer_policy(txn, name.version)

    layer, policy = await ctx.store.read(layer_shard(*name[:3]), read, ctx.request)
    if layer is not None and name.account != ctx.request.account and not may_use(ctx.request, policy):
        raise AwsError(
            f"User: {ctx.request.principal.arn} is not authorized to perform: {ACTION} on resource: "
            f"{name.arn(ctx.request)} because no resource-based policy allows the {ACTION} action",
            code="AccessDeniedException",
            status=403,
        )
    return layer


async def require_layer(ctx: Context, name: LayerName) -> Layer:
    """The layer version, or AWS's 404."""
    layer = await find_layer(ctx, name)
    if layer is None:
        raise ResourceNotFoundError(NOT_FOUND)
    return layer


async def use_layers(ctx: Context, arns: Sequence[str]) -> tuple[LayerUse, ...]:
    """The layers of a function, in order, checked as AWS checks them. Compatible runtimes and architectures are advice
    there, and not held against the function."""
    if len(arns) > limits.LAYERS_MAX:
        raise InvalidParameterValueError(f"Cannot reference more than {limits.LAYERS_MAX} layers.")
    seen: dict[str, str] = {}
    uses = []
    for arn in arns:
        name = parse_layer(ctx.request, arn)
        if name.region != ctx.request.region:
            raise InvalidParameterValueError(
                "Layers are not in the same region as the function. "
                f"Layers are expected to be in region {ctx.request.region}."
            )
        layer_arn = arn.rpartition(":")[0]
        if layer_arn in seen:
            raise InvalidParameterValueError(
                "Two different versions of the same layer are not allowed to be referenced in the same function. "
                f"{seen[layer_arn]} and {arn} are versions of the same layer."
            )
        seen[layer_arn] = arn
        layer = await find_layer(ctx, name)
        if layer is None:
            raise InvalidParameterValueError(_missing(ctx.request, name, arn))
        uses.append(LayerUse(layer.arn, layer.package))
    return tuple(uses)


def _missing(context: RequestContext, name: LayerName, arn: str) -> str:
    told = f"Layer version {arn} does not exist."
    if name.account == context.account:
        return told
    return (
        f"{told} Tule can't fetch layers of account {name.account} from AWS: get the zip with `aws lambda "
        "get-layer-version-by-arn` there, and publish it here."
    )


async def check_total_size(ctx: Context, package: Package, layers: Sequence[LayerUse]) -> None:
    """Refuse code and layers that are too large together, unzipped."""
    if not layers:
        return
    engine = execution(ctx.env).engine
    size = sum([await engine.unzipped_bytes(part) for part in (package, *(layer.package for layer in layers))])
    if size > limits.UNZIPPED_MAX_BYTES:
        raise InvalidParameterValueError(
            "Function code combined with layers exceeds the maximum allowed size of "
            f"{limits.UNZIPPED_MAX_BYTES} bytes. The actual size is {size} bytes."
        )
