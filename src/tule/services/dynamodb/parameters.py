"""The parameters that expressions come with: which go together, and what they name and hold."""

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from tule.languages.dynamodb.conditions import Names, Program, compile_condition
from tule.languages.dynamodb.projection import Projection, compile_projection
from tule.languages.dynamodb.refusals import Refusal
from tule.languages.dynamodb.updates import Update, compile_update
from tule.languages.dynamodb.values import Value, weigh

_NAME_KEY: Final = re.compile(r"#[A-Za-z0-9_]+")
_VALUE_KEY: Final = re.compile(r":[A-Za-z0-9_]+")


def refuse_mixture(request: Mapping[str, Any], legacy: Sequence[str], modern: Sequence[str]) -> None:
    """Old parameters and expressions can't be mixed; both are printed in the order given here."""
    old = [name for name in legacy if name in request]
    if not old:
        return
    new = [name for name in modern if name in request]
    if new:
        raise Refusal(
            "Can not use both expression and non-expression parameters in the same request: "
            f"Non-expression parameters: {{{', '.join(old)}}} Expression parameters: {{{', '.join(new)}}}"
        )


class Placeholders:
    """A request's #names and :values, and which of them its expressions use."""

    __slots__ = ("_names", "_types", "_used", "names", "values")

    def __init__(self, names: dict[str, str] | None, values: dict[str, Value] | None, *, wrap: bool = False) -> None:
        """`wrap`: print a bad value with its key, as the operations with the older texts do."""
        self._used: list[Program | Projection | Update] = []
        self.names = names
        self.values: dict[str, Value] = values or {}
        self._names: Names = ()
        self._types: Names = ()
        if names is not None:
            _check_keys("Names", names, _NAME_KEY)
            self._names = tuple(names.items())
        if values is not None:
            _check_keys("Values", values, _VALUE_KEY)
            for key, value in values.items():
                _weigh_value(key, value, wrap=wrap)
            self._types = tuple([(key, next(iter(value))) for key, value in values.items()])

    def condition(self, kind: str, text: str | None) -> Program | None:
        """The compiled expression, its checks on values passed."""
        if text is None:
            return None
        program = compile_condition(kind, text, self._names, self._types)
        for check in program.checks:
            check(self.values)
        self._used.append(program)
        return program

    def update(self, text: str | None) -> Update | None:
        if text is None:
            return None
        update = compile_update(text, self._names, self._types)
        self._used.append(update)
        return update

    def projection(self, text: str | None) -> Projection | None:
        if text is None:
            return None
        projection = compile_projection(text, self._names)
        self._used.append(projection)
        return projection

    @property
    def name_pairs(self) -> Names:
        return self._names

    def refuse_unused(self) -> None:
        """After the last expression."""
        if self._names:
            _refuse_rest("Names", self._names, (used.names for used in self._used))
        if self._types:
            programs = (used for used in self._used if not isinstance(used, Projection))
            _refuse_rest("Values", self._types, (used.values for used in programs))


def _refuse_rest(kind: str, given: Names, used: Iterable[frozenset[str]]) -> None:
    everything = frozenset().union(*used)
    unused = [key for key, _ in given if key not in everything]
    if unused:
        raise Refusal(
            f"Value provided in ExpressionAttribute{kind} unused in expressions: keys: {{{', '.join(unused)}}}"
        )


def _check_keys(kind: str, given: Mapping[str, Any], form: re.Pattern[str]) -> None:
    if not given:
        raise Refusal(f"ExpressionAttribute{kind} must not be empty")
    for key in given:
        if form.fullmatch(key) is None:
            raise Refusal(f'ExpressionAttribute{kind} contains invalid key: Syntax error; key: "{key}"')


def _weigh_value(key: str, value: Any, *, wrap: bool) -> None:
    try:
        weigh(value)
    except Refusal as refusal:
        older = f"ExpressionAttributeValues contains invalid value: {refusal.older} for key {key}"
        raise Refusal(refusal.message, older=older if wrap else None, bare=refusal.bare) from None


NO_PLACEHOLDERS: Final[tuple[None, None]] = (None, None)


def read_placeholders(
    request: Mapping[str, Any], expressions: Sequence[str], *, older_suffix: str = ""
) -> tuple[dict[str, str] | None, dict[str, Value] | None]:
    """(names, values) of a request that has one of `expressions`, else they must be absent.

    ProjectionExpression uses names alone. `older_suffix` is what the older text has after "using expressions".
    """
    names = request.get("ExpressionAttributeNames")
    values = request.get("ExpressionAttributeValues")
    if names is None and values is None:
        return NO_PLACEHOLDERS
    if names is not None and not any(name in request for name in expressions):
        raise Refusal("ExpressionAttributeNames can only be specified when using expressions")
    if values is not None and not any(name in request for name in expressions if name != "ProjectionExpression"):
        text = "ExpressionAttributeValues can only be specified when using expressions"
        raise Refusal(text, older=text + older_suffix)
    return names, values
