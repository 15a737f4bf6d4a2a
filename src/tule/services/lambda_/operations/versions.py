"""PublishVersion and ListVersionsByFunction."""

from typing import Any

from tule.services.declaration import Context
from tule.services.lambda_ import limits, state, views
from tule.services.lambda_.execution import execution
from tule.services.lambda_.lifecycle import require_settled
from tule.services.lambda_.models import LATEST, Function, Status
from tule.services.lambda_.names import (
    InvalidParameterValueError,
    PreconditionFailedError,
    function_not_found,
    only_unqualified,
    parse_name,
)
from tule.services.lambda_.publishing import publish
from tule.services.lambda_.qualifiers import read_qualified
from tule.services.lambda_.settings import refuse_what_is_not_honoured
from tule.store.transaction import ReadTxn, Txn

Request = dict[str, Any]


async def publish_version(ctx: Context, request: Request) -> dict[str, Any]:
    refuse_what_is_not_honoured("PublishVersion", request)
    name = parse_name(ctx.request, request["FunctionName"])
    only_unqualified(name)
    revision, now = ctx.env.random.uuid(), ctx.env.clock.now()

    def make(txn: Txn) -> Function:
        latest = state.read_function(txn)
        if latest is None:
            raise function_not_found(ctx.request, name)
        require_settled(latest)
        if request.get("RevisionId") and request["RevisionId"] != latest.revision:
            raise PreconditionFailedError
        wanted, has = request.get("CodeSha256"), latest.package.sha256_base64
        if wanted and wanted != has:
            raise InvalidParameterValueError(
                f"CodeSHA256 ({wanted}) is different from current CodeSHA256 in $LATEST ({has}). "
                "Please try again with the CodeSHA256 in $LATEST."
            )
        description = request.get("Description")
        return publish(txn, latest, description=description, revision=revision, modified_ms=now, status=Status())

    version = await ctx.store.transact(state.function_shard(*name[:3]), make, ctx.request)
    await execution(ctx.env).changed(version)
    return views.configuration(version, version.version)


async def list_versions_by_function(ctx: Context, request: Request) -> dict[str, Any]:
    """$LATEST, then published versions by number; the marker is the last version of the page before."""
    name = parse_name(ctx.request, request["FunctionName"])
    page = min(request.get("MaxItems") or limits.LIST_PAGE, limits.LIST_PAGE)
    marker = request.get("Marker") or ""
    after = 0 if marker in ("", LATEST) else _number(marker)

    def read(txn: ReadTxn) -> list[Function]:
        latest = read_qualified(txn, ctx.request, name._replace(qualifier=""))
        return [*([] if marker else [latest]), *state.all_versions(txn, after, page + 1)]

    found = await ctx.store.read(state.function_shard(*name[:3]), read, ctx.request)
    result: dict[str, Any] = {"Versions": [views.listed(version, version.version) for version in found[:page]]}
    if len(found) > page:
        result["NextMarker"] = found[page - 1].version
    return result


def _number(marker: str) -> int:
    if not marker.isdigit() or len(marker) > limits.VERSION_DIGITS:
        raise InvalidParameterValueError("Invalid value for marker")
    return int(marker)
