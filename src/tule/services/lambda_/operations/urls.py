"""Function URLs: HTTP endpoints of functions and aliases."""

import re
from typing import Any
from urllib.parse import urlsplit

from msgspec.structs import replace

from tule.services.declaration import Context
from tule.services.lambda_ import invoking_state, limits, state
from tule.services.lambda_.function_url import BUFFERED, Cors, FunctionUrl, UrlPlace
from tule.services.lambda_.models import LATEST
from tule.services.lambda_.names import (
    FunctionName,
    InvalidRequestError,
    ResourceConflictError,
    ResourceNotFoundError,
    arn_of,
    parse_name,
)
from tule.services.lambda_.qualifiers import is_number, require_qualifier
from tule.services.lambda_.records import timestamp
from tule.services.lambda_.url_edge import PATH
from tule.store.transaction import ReadTxn, Txn

Request = dict[str, Any]

_ALPHABET = "abcdefghijklmnopqrstuvwxyz234567"
_ID_LENGTH = 32
_LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})
_STAYS = re.compile(r"[a-z2-7]+\.lambda-url\.[a-z0-9-]+\.localhost")


def _named(ctx: Context, request: Request) -> FunctionName:
    """The function or alias. Versions, $LATEST among them, have no URLs."""
    name = parse_name(ctx.request, request["FunctionName"], request.get("Qualifier") or "")
    if name.qualifier == LATEST or is_number(name.qualifier):
        raise InvalidRequestError(
            name.qualifier,
            "qualifier",
            r"Member must satisfy regular expression pattern: ((?!^\d+$)^[0-9a-zA-Z-_]+$)",
        )
    return name


def _existing(ctx: Context, txn: ReadTxn, name: FunctionName) -> None:
    try:
        require_qualifier(txn, ctx.request, name)
    except ResourceNotFoundError:
        raise ResourceNotFoundError("Function does not exist") from None


def _kept(txn: ReadTxn, name: FunctionName) -> FunctionUrl:
    url = invoking_state.read_url(txn, name.qualifier)
    if url is None:
        raise ResourceNotFoundError("The resource you requested does not exist.")
    return url


# -- how they look


def address(url_id: str, region: str, base_url: str) -> str:
    """The URL at the address by which the caller reached Tule.

    A caller that used another name than localhost can't be told a host name that leads here, so it gets the path form.
    """
    parts = urlsplit(base_url)
    if parts.hostname in _LOOPBACK or _STAYS.fullmatch(parts.hostname or ""):
        port = f":{parts.port}" if parts.port else ""
        return f"{parts.scheme}://{url_id}.lambda-url.{region}.localhost{port}/"
    return f"{base_url}{PATH}{url_id}/"


def _time(instant_ms: int) -> str:
    """With microseconds, as AWS prints these: 2026-11-21T12:00:00.123000Z."""
    return f"{timestamp(instant_ms)[:-1]}000Z"


def _view(ctx: Context, name: FunctionName, url: FunctionUrl) -> dict[str, Any]:
    view: dict[str, Any] = {
        "FunctionUrl": address(url.id, name.region, ctx.request.base_url),
        "FunctionArn": arn_of(ctx.request, name),
        "AuthType": url.auth_type,
        "CreationTime": _time(url.created_ms),
        "LastModifiedTime": _time(url.modified_ms),
        "InvokeMode": url.invoke_mode,
    }
    if url.cors is not None:
        view["Cors"] = _cors_view(url.cors)
    return view


def _cors_view(cors: Cors) -> dict[str, Any]:
    members = {
        "AllowCredentials": cors.allow_credentials,
        "AllowHeaders": cors.allow_headers,
        "AllowMethods": cors.allow_methods,
        "AllowOrigins": cors.allow_origins,
        "ExposeHeaders": cors.expose_headers,
        "MaxAge": cors.max_age_s,
    }
    return {
        name: list(value) if isinstance(value, tuple) else value for name, value in members.items() if value is not None
    }


def _cors(given: dict[str, Any] | None) -> Cors | None:
    if given is None:
        return None

    def names(member: str) -> tuple[str, ...] | None:
        value = given.get(member)
        return None if value is None else tuple(value)

    return Cors(
        allow_credentials=given.get("AllowCredentials"),
        allow_headers=names("AllowHeaders"),
        allow_methods=names("AllowMethods"),
        allow_origins=names("AllowOrigins"),
        expose_headers=names("ExposeHeaders"),
        max_age_s=given.get("MaxAge"),
    )


# -- operations


async def create_function_url_config(ctx: Context, request: Request) -> dict[str, Any]:
    """What the id leads to is kept before the URL itself, so that nobody is told a URL that leads nowhere yet."""
    name = _named(ctx, request)
    shard = state.function_shard(*name[:3])
    await ctx.store.read(shard, lambda txn: _existing(ctx, txn, name), ctx.request)
    url_id = "".join(_ALPHABET[byte & 31] for byte in ctx.env.random.token(_ID_LENGTH))
    now_ms = ctx.env.clock.now()
    url = FunctionUrl(
        id=url_id,
        auth_type=request["AuthType"],
        created_ms=now_ms,
        modified_ms=now_ms,
        invoke_mode=request.get("InvokeMode") or BUFFERED,
        cors=_cors(request.get("Cors")),
    )

    def create(txn: Txn) -> None:
        _existing(ctx, txn, name)
        if invoking_state.read_url(txn, name.qualifier) is not None:
            raise ResourceConflictError(
                f"Failed to create function url config for [functionArn = {arn_of(ctx.request, name)}]. "
                "Error message:  FunctionUrlConfig exists for this Lambda function"
            )
        invoking_state.write_url(txn, name.qualifier, url)

    place_shard = invoking_state.url_shard(url_id)
    place = UrlPlace(name.account, name.region, name.name, name.qualifier)
    await ctx.store.transact(place_shard, lambda txn: invoking_state.write_place(txn, place), ctx.request)
    try:
        await ctx.store.transact(shard, create, ctx.request)
    except BaseException:
        await ctx.store.transact(place_shard, invoking_state.erase_place, ctx.request)
        raise
    view = _view(ctx, name, url)
    del view["LastModifiedTime"]
    if not request.get("InvokeMode"):
        del view["InvokeMode"]
    return view


async def get_function_url_config(ctx: Context, request: Request) -> dict[str, Any]:
    name = _named(ctx, request)
    shard = state.function_shard(*name[:3])
    return _view(ctx, name, await ctx.store.read(shard, lambda txn: _kept(txn, name), ctx.request))


async def update_function_url_config(ctx: Context, request: Request) -> dict[str, Any]:
    """What the request leaves out stays as it is."""
    name = _named(ctx, request)
    now_ms = ctx.env.clock.now()

    def update(txn: Txn) -> FunctionUrl:
        old = _kept(txn, name)
        url = replace(
            old,
            modified_ms=now_ms,
            auth_type=request.get("AuthType") or old.auth_type,
            invoke_mode=request.get("InvokeMode") or old.invoke_mode,
            cors=old.cors if request.get("Cors") is None else _cors(request["Cors"]),
        )
        invoking_state.write_url(txn, name.qualifier, url)
        return url

    url = await ctx.store.transact(state.function_shard(*name[:3]), update, ctx.request)
    return _view(ctx, name, url)


async def delete_function_url_config(ctx: Context, request: Request) -> dict[str, Any]:
    name = _named(ctx, request)

    def delete(txn: Txn) -> None:
        _kept(txn, name)
        invoking_state.erase_url(txn, name.qualifier)

    await ctx.store.transact(state.function_shard(*name[:3]), delete, ctx.request)
    return {}


async def list_function_url_configs(ctx: Context, request: Request) -> dict[str, Any]:
    """The function's own first, then its aliases' by name; the marker says where the page before ended."""
    name = parse_name(ctx.request, request["FunctionName"])
    page = min(request.get("MaxItems") or limits.LIST_PAGE, limits.LIST_PAGE)
    marker = request.get("Marker")
    after = marker.removeprefix(":") if marker else None

    def read(txn: ReadTxn) -> list[tuple[str, FunctionUrl]]:
        if state.read_function(txn) is None:
            raise ResourceNotFoundError("Function does not exist")
        return invoking_state.scan_urls(txn, after, page + 1)

    found = await ctx.store.read(state.function_shard(*name[:3]), read, ctx.request)
    views = [_view(ctx, name._replace(qualifier=qualifier), url) for qualifier, url in found[:page]]
    result: dict[str, Any] = {"FunctionUrlConfigs": views}
    if len(found) > page:
        result["NextMarker"] = f":{found[page - 1][0]}"
    return result
