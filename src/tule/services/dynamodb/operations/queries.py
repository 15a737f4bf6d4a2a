"""Query and Scan."""

from typing import Any, Final

from tule.languages.dynamodb.conditions import Program
from tule.languages.dynamodb.keys import KEY_CONDITION, KeyTest, key_tests
from tule.languages.dynamodb.projection import Projection
from tule.languages.dynamodb.refusals import Refusal
from tule.languages.dynamodb.values import Value, weigh_item
from tule.services.dynamodb.errors import ValidationError, current, invalid, older, refusing
from tule.services.dynamodb.legacy import attributes_to_get, key_conditions, read_filter
from tule.services.dynamodb.models import OpenTable
from tule.services.dynamodb.parameters import Placeholders, read_placeholders, refuse_mixture
from tule.services.dynamodb.paths import check_nested
from tule.services.dynamodb.ranges import BAD_START, Source, check_start, range_of, restart, source_of
from tule.services.dynamodb.reading import Reading
from tule.services.dynamodb.state import table_to_read
from tule.store.keys import after
from tule.store.transaction import ReadTxn

Request = dict[str, Any]

_QUERY: Final = ("ProjectionExpression", "FilterExpression", "KeyConditionExpression")
_SCAN: Final = ("ProjectionExpression", "FilterExpression")
ENVELOPED: Final = "1 validation error detected: "


def _check_select(request: Request, envelope: str) -> None:
    """Select against the parameters beside it; what needs the table is checked later."""
    select = request.get("Select")
    listed = next((name for name in ("ProjectionExpression", "AttributesToGet") if name in request), None)
    if select is None or (select == "SPECIFIC_ATTRIBUTES" and listed):
        return
    if select == "SPECIFIC_ATTRIBUTES":
        raise ValidationError(
            f"{envelope}Must specify the AttributesToGet or ProjectionExpression when choosing to get "
            "SPECIFIC_ATTRIBUTES"
        )
    if listed:
        chosen = "only the Count" if select == "COUNT" else select
        prefix = envelope if listed == "ProjectionExpression" else ""
        raise ValidationError(f"{prefix}Cannot specify the {listed} when choosing to get {chosen}")
    if select == "ALL_PROJECTED_ATTRIBUTES" and "IndexName" not in request:
        raise ValidationError(f"{envelope}ALL_PROJECTED_ATTRIBUTES can be used only when Querying using an IndexName")


def _check_carried(source: Source, request: Request, projection: Projection | None) -> None:
    """A global index gives only what it carries."""
    index = source.index
    if index is None or index.local or index.projected is None:
        return
    if request.get("Select") == "ALL_ATTRIBUTES":
        raise invalid(
            f"Select type ALL_ATTRIBUTES is not supported for global secondary index {index.name} because its "
            "projection type is not ALL"
        )
    carried = index.projected
    missing = [str(steps[0]) for steps in projection.paths if steps[0] not in carried] if projection else []
    if missing:
        raise invalid(f"Global secondary index {index.name} does not project [{', '.join(missing)}]")


class _Terms:
    """Filter and projection of a request, from expressions or from the parameters before them."""

    __slots__ = ("filter", "filter_values", "projection")

    def __init__(
        self, request: Request, placeholders: Placeholders, legacy: tuple[Program, Placeholders] | None
    ) -> None:
        self.filter = placeholders.condition("FilterExpression", request.get("FilterExpression"))
        self.filter_values: dict[str, Value] = placeholders.values
        self.projection = placeholders.projection(request.get("ProjectionExpression"))
        placeholders.refuse_unused()
        if self.projection is None:
            self.projection = attributes_to_get(request)
        if legacy is not None:
            self.filter, self.filter_values = legacy[0], legacy[1].values

    def check(self, table: OpenTable) -> None:
        check_nested(table, self.filter)
        check_nested(table, self.projection)


def _refuse_key_filter(source: Source, terms: _Terms, request: Request) -> None:
    """A Query's filter is for what the keys can't say."""
    keys = (source.hash_key, source.range_key)
    what = "QueryFilter" if "QueryFilter" in request else "Filter Expression"
    for steps in terms.filter.paths if terms.filter is not None else ():
        if steps[0] in keys:
            raise ValidationError(
                f"{what} can only contain non-primary key attributes: Primary key attribute: {steps[0]}"
            )


@refusing(current)
def query(txn: ReadTxn, request: Request) -> Request:
    old_names = ["AttributesToGet", "QueryFilter", "ConditionalOperator"]
    if "KeyConditionExpression" in request:
        old_names.append("KeyConditions")
    refuse_mixture(request, old_names, _QUERY)
    suffix = ": FilterExpression and KeyConditionExpression are null"
    given = read_placeholders(request, _QUERY, older_suffix=suffix)
    legacy = read_filter(request, "QueryFilter")
    attributes_to_get(request)
    start = request.get("ExclusiveStartKey")
    if start is not None:
        _weigh_start(start)
    tests, values = _key_tests(request)
    _check_select(request, ENVELOPED)
    placeholders = Placeholders(*given)
    placeholders.condition(KEY_CONDITION, request.get(KEY_CONDITION))
    terms = _Terms(request, placeholders, legacy)
    if KEY_CONDITION in request:
        tests, values = key_tests(request[KEY_CONDITION], placeholders.name_pairs), placeholders.values
    consistent = bool(request.get("ConsistentRead"))
    source = source_of(table_to_read(txn, request["TableName"]), request.get("IndexName"), consistent=consistent)
    _check_carried(source, request, terms.projection)
    span = range_of(source, tests, values)
    reverse = request.get("ScanIndexForward") is False
    first, last = span.start, span.end
    if start is not None:
        first, last = restart(source, span, start, reverse=reverse)
    _refuse_key_filter(source, terms, request)
    terms.check(source.table)
    reading = Reading(source, request, terms.projection, terms.filter, terms.filter_values)
    return reading.answer(txn, first, last, reverse=reverse)


def _weigh_start(start: Any) -> None:
    """Bad values in a starting key are told with a prefix, except those of numbers and repeats."""
    try:
        weigh_item(start)
    except Refusal as refusal:
        text = refusal.message
        plain = "number" in text or "Number" in text or "numeric" in text or "duplicates" in text
        raise ValidationError(text if plain else f"{BAD_START}: {text}") from None


def _key_tests(request: Request) -> tuple[tuple[KeyTest, ...], dict[str, Value]]:
    """KeyConditions; nothing for an expression, which is read later."""
    found = None if KEY_CONDITION in request else key_conditions(request)
    if found is None:
        if KEY_CONDITION not in request:
            raise ValidationError(
                "Either the KeyConditions or KeyConditionExpression parameter must be specified in the request."
            )
        return (), {}
    return found


@refusing(older)
def scan(txn: ReadTxn, request: Request) -> Request:
    refuse_mixture(request, ("AttributesToGet", "ScanFilter", "ConditionalOperator"), _SCAN)
    given = read_placeholders(request, _SCAN, older_suffix=": FilterExpression is null")
    legacy = read_filter(request, "ScanFilter")
    attributes_to_get(request)
    start = request.get("ExclusiveStartKey")
    if start is not None:
        _weigh_start(start)
    _check_select(request, "")
    number, total = _segment(request)
    terms = _Terms(request, Placeholders(*given, wrap=True), legacy)
    consistent = bool(request.get("ConsistentRead"))
    source = source_of(table_to_read(txn, request["TableName"]), request.get("IndexName"), consistent=consistent)
    _check_carried(source, request, terms.projection)
    first, last = source.rows.segment(number, total)
    if start is not None:
        check_start(source, start, scan=True)
        place = source.place(start)
        if not source.rows.holds(place, number, total):
            raise ValidationError(
                f"{BAD_START}: Invalid ExclusiveStartKey. Please use ExclusiveStartKey with correct Segment. "
                f"TotalSegments: {total} Segment: {number}"
            )
        first = after(place)
    terms.check(source.table)
    reading = Reading(source, request, terms.projection, terms.filter, terms.filter_values)
    return reading.answer(txn, first, last, reverse=False)


def _segment(request: Request) -> tuple[int, int]:
    number, total = request.get("Segment"), request.get("TotalSegments")
    if number is None and total is None:
        return 0, 1
    if total is None:
        raise ValidationError(
            "The TotalSegments parameter is required but was not present in the request when Segment parameter is "
            "present"
        )
    if number is None:
        raise ValidationError(
            "The Segment parameter is required but was not present in the request when parameter TotalSegments is "
            "present"
        )
    if number >= total:
        raise ValidationError(
            "The Segment parameter is zero-based and must be less than parameter TotalSegments: "
            f"Segment: {number} is not less than TotalSegments: {total}"
        )
    return number, total
