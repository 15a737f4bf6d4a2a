"""Parameters: declarations, defaults and the rules that values must keep."""

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

from tule.languages.cloudformation.errors import TemplateError

MAX_VALUE_BYTES = 4_096
"""A parameter's value (CloudFormation quotas)."""

Value = str | list[str]

_PLAIN = frozenset(["String", "Number", "List<Number>", "CommaDelimitedList"])
_MEMBERS = frozenset(
    {
        "Type",
        "Default",
        "NoEcho",
        "AllowedValues",
        "AllowedPattern",
        "MaxLength",
        "MinLength",
        "MaxValue",
        "MinValue",
        "Description",
        "ConstraintDescription",
    }
)


class PatternCheck(NamedTuple):
    """A value to be matched against a pattern that a user wrote; done where a runaway expression can be ended."""

    name: str
    pattern: str
    value: str
    message: str
    """What to say when it does not match."""


_NUMBERS = ("MinLength", "MaxLength", "MinValue", "MaxValue")
_SCALARS = (str, int, float)


def check_declarations(parameters: Mapping[str, Mapping[str, Any]]) -> None:
    """Refuse declarations that CloudFormation refuses, and by name the types that Tule cannot look up."""
    for name, declaration in parameters.items():
        for member in declaration:
            if member not in _MEMBERS:
                raise TemplateError(f"Invalid template parameter property '{member}'")
        kind = declaration.get("Type")
        if kind is None:
            raise TemplateError(
                f"Template format error: [/Parameters/{name}] Every Parameters object must contain a Type member."
            )
        _check_kind(name, kind)
        for member, value in declaration.items():
            if not _fits(member, value):
                raise TemplateError(f"Template format error: [/Parameters/{name}/{member}] has a value it can't have.")


def _check_kind(name: str, kind: Any) -> None:
    if isinstance(kind, str) and kind.removeprefix("List<").startswith("AWS::"):
        raise TemplateError(
            f"Tule does not implement parameter type {kind} yet: parameter {name} has it. Use String and "
            "pass the value."
        )
    if not isinstance(kind, str) or kind not in _PLAIN:
        raise TemplateError(f"Template format error: Unrecognized parameter type: {kind}")


def _fits(member: str, value: Any) -> bool:
    """Whether a member of a declaration has a value of its kind."""
    if member in _NUMBERS:
        return isinstance(value, _SCALARS) and not isinstance(value, bool) and _number(value) is not None
    if member == "AllowedValues":
        return isinstance(value, list) and all(isinstance(part, _SCALARS) for part in value)
    if member == "Default" and isinstance(value, list):
        return all(isinstance(part, _SCALARS) for part in value)
    return isinstance(value, _SCALARS)


def _number(value: Any) -> float | None:
    """A finite number, or None."""
    try:
        number = float(value)
    except (ValueError, OverflowError):
        return None
    return number if math.isfinite(number) else None


def text_of(value: Any) -> str:
    """A scalar as CloudFormation writes it."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return str(value)


def default_of(declaration: Mapping[str, Any]) -> str | None:
    """A parameter's default as text, or None."""
    if "Default" not in declaration:
        return None
    default = declaration["Default"]
    return ",".join(text_of(part) for part in default) if isinstance(default, list) else text_of(default)


def settle(parameters: Mapping[str, Mapping[str, Any]], given: Mapping[str, str]) -> dict[str, str]:
    """Each parameter's text, from what was given or its default. Refuses unknown and missing ones."""
    unknown = [name for name in given if name not in parameters]
    if unknown:
        raise TemplateError(f"Parameters: [{', '.join(unknown)}] do not exist in the template")
    settled: dict[str, str] = {}
    missing = []
    for name, declaration in parameters.items():
        value = given.get(name, default_of(declaration))
        if value is None:
            missing.append(name)
        else:
            settled[name] = value
    if missing:
        raise TemplateError(f"Parameters: [{', '.join(missing)}] must have values")
    for name, value in settled.items():
        _check(name, parameters[name], value)
    return settled


def values_of(parameters: Mapping[str, Mapping[str, Any]], settled: Mapping[str, str]) -> dict[str, Value]:
    """What Ref gives for each parameter: text, or a list for the list types."""
    values: dict[str, Value] = {}
    for name, text in settled.items():
        listed = parameters[name]["Type"] in ("CommaDelimitedList", "List<Number>")
        values[name] = [part.strip() for part in text.split(",")] if listed else text
    return values


def patterns(parameters: Mapping[str, Mapping[str, Any]], settled: Mapping[str, str]) -> list[PatternCheck]:
    """What remains to be matched after `settle`."""
    checks = []
    for name, declaration in parameters.items():
        pattern = declaration.get("AllowedPattern")
        if pattern is None or declaration["Type"] not in ("String", "CommaDelimitedList"):
            continue
        message = _reason(name, declaration, f"must match pattern {pattern}")
        parts = [settled[name]] if declaration["Type"] == "String" else settled[name].split(",")
        checks += [
            PatternCheck(name, str(pattern), part.strip() if len(parts) > 1 else part, message) for part in parts
        ]
    return checks


def _reason(name: str, declaration: Mapping[str, Any], rule: str) -> str:
    described = declaration.get("ConstraintDescription")
    if described is not None:
        return f"Parameter '{name}' failed to satisfy constraint: {described}"
    return f"Parameter '{name}' {rule}"


def _check(name: str, declaration: Mapping[str, Any], value: str) -> None:
    if len(value.encode()) > MAX_VALUE_BYTES:
        raise TemplateError(f"Parameter '{name}' must contain at most {MAX_VALUE_BYTES} bytes")
    kind = declaration["Type"]
    parts = [part.strip() for part in value.split(",")] if kind in ("CommaDelimitedList", "List<Number>") else [value]
    allowed = declaration.get("AllowedValues")
    if allowed is not None:
        texts = [text_of(entry) for entry in allowed]
        if any(part not in texts for part in parts):
            raise TemplateError(_reason(name, declaration, f"must be one of AllowedValues [{', '.join(texts)}]"))
    if kind in ("Number", "List<Number>"):
        for part in parts:
            _check_number(name, declaration, part)
    elif kind == "String":
        _check_length(name, declaration, value)


def _check_number(name: str, declaration: Mapping[str, Any], text: str) -> None:
    number = _number(text)
    if number is None:
        raise TemplateError(f"Parameter '{name}' must be a number.")
    least, most = declaration.get("MinValue"), declaration.get("MaxValue")
    if least is not None and number < float(least):
        raise TemplateError(_reason(name, declaration, f"must be a number not less than {text_of(least)}"))
    if most is not None and number > float(most):
        raise TemplateError(_reason(name, declaration, f"must be a number not greater than {text_of(most)}"))


def _check_length(name: str, declaration: Mapping[str, Any], value: str) -> None:
    least, most = declaration.get("MinLength"), declaration.get("MaxLength")
    if least is not None and len(value) < float(least):
        raise TemplateError(_reason(name, declaration, f"must contain at least {text_of(least)} characters"))
    if most is not None and len(value) > float(most):
        raise TemplateError(_reason(name, declaration, f"must contain at most {text_of(most)} characters"))
