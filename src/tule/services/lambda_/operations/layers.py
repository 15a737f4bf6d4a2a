"""Layers: PublishLayerVersion, the reads, DeleteLayerVersion."""

from itertools import groupby
from typing import Any

from tule.services.declaration import Context
from tule.services.lambda_ import layer_state, limits, views
from tule.services.lambda_.execution import execution
from tule.services.lambda_.layer_state import (
    erase_layer,
    last_layer_version,
    layer_shard,
    newest_layers,
    read_layer,
    write_layer,
)
from tule.services.lambda_.layers import LayerName, parse_layer, require_layer
from tule.services.lambda_.models import Layer
from tule.services.lambda_.names import InvalidParameterValueError
from tule.services.lambda_.packages import code_url, take_package
from tule.store.transaction import Txn

Request = dict[str, Any]


async def publish_layer_version(ctx: Context, request: Request) -> dict[str, Any]:
    name = _own(ctx, request["LayerName"])
    package = await take_package(ctx, request["Content"])
    unzipped_bytes = await execution(ctx.env).engine.unzipped_bytes(package)
    now = ctx.env.clock.now()

    def publish(txn: Txn) -> Layer:
        layer = Layer(
            name=name.name,
            version=last_layer_version(txn) + 1,
            account=name.account,
            region=name.region,
            partition=ctx.request.partition,
            package=package,
            created_ms=now,
            unzipped_bytes=unzipped_bytes,
            description=request.get("Description") or "",
            license=request.get("LicenseInfo") or "",
            runtimes=tuple(request.get("CompatibleRuntimes") or ()),
            architectures=tuple(request.get("CompatibleArchitectures") or ()),
        )
        write_layer(txn, layer)
        return layer

    layer = await ctx.store.transact(layer_shard(*name[:3]), publish, ctx.request)
    return _with_content(ctx, layer)


def _own(ctx: Context, text: str) -> LayerName:
    """A layer of the caller's account and region, which alone it can change."""
    name = parse_layer(ctx.request, text)
    if (name.account, name.region) != (ctx.request.account, ctx.request.region):
        raise InvalidParameterValueError(
            f"The layer {text} belongs to another account or region than the request, and can be changed there alone."
        )
    return name


def _with_content(ctx: Context, layer: Layer) -> dict[str, Any]:
    content = {
        "Location": code_url(ctx.env, ctx.request.base_url, layer.package),
        "CodeSha256": layer.package.sha256_base64,
        "CodeSize": layer.package.size_bytes,
    }
    return {"Content": content, "LayerArn": layer.layer_arn, **views.layer_version(layer)}


async def get_layer_version(ctx: Context, request: Request) -> dict[str, Any]:
    name = parse_layer(ctx.request, request["LayerName"], request["VersionNumber"])
    return _with_content(ctx, await require_layer(ctx, name))


async def get_layer_version_by_arn(ctx: Context, request: Request) -> dict[str, Any]:
    return _with_content(ctx, await require_layer(ctx, parse_layer(ctx.request, request["Arn"])))


def _matches(layer: Layer, request: Request) -> bool:
    """Whether a layer version says that it suits the runtime and architecture that a list is asked for."""
    runtime, architecture = request.get("CompatibleRuntime"), request.get("CompatibleArchitecture")
    return (not runtime or runtime in layer.runtimes) and (not architecture or architecture in layer.architectures)


async def list_layers(ctx: Context, request: Request) -> dict[str, Any]:
    """Each layer with its newest version that matches, by name; the marker is the last name of the page before."""
    page = request.get("MaxItems") or limits.LIST_PAGE
    matching = [layer for layer in await layer_state.list_layers(ctx.store, ctx.request) if _matches(layer, request)]
    newest = [list(versions)[-1] for _, versions in groupby(matching, key=lambda layer: layer.name)]
    found = [layer for layer in newest if layer.name > (request.get("Marker") or "")]
    layers = [
        {"LayerName": layer.name, "LayerArn": layer.layer_arn, "LatestMatchingVersion": views.layer_version(layer)}
        for layer in found[:page]
    ]
    result: dict[str, Any] = {"Layers": layers}
    if len(found) > page:
        result["NextMarker"] = found[page - 1].name
    return result


async def list_layer_versions(ctx: Context, request: Request) -> dict[str, Any]:
    """The newest first; the marker is the last number of the page before."""
    name = parse_layer(ctx.request, request["LayerName"])
    page = request.get("MaxItems") or limits.LIST_PAGE
    marker = request.get("Marker") or ""
    if marker and not marker.isdigit():
        raise InvalidParameterValueError("Invalid value for marker")
    versions = await ctx.store.read(layer_shard(ctx.request.account, *name[1:3]), newest_layers, ctx.request)
    found = [one for one in versions if _matches(one, request) and (not marker or one.version < int(marker))]
    result: dict[str, Any] = {"LayerVersions": [views.layer_version(layer) for layer in found[:page]]}
    if len(found) > page:
        result["NextMarker"] = str(found[page - 1].version)
    return result


async def delete_layer_version(ctx: Context, request: Request) -> dict[str, Any]:
    """Functions that use the version keep it. One that isn't there is no error, as on AWS."""
    name = parse_layer(ctx.request, request["LayerName"], request["VersionNumber"])
    _own(ctx, request["LayerName"])

    def delete(txn: Txn) -> None:
        if read_layer(txn, name.version) is not None:
            erase_layer(txn, name.name, name.version)

    await ctx.store.transact(layer_shard(*name[:3]), delete, ctx.request)
    return {}
