"""Values of functions: conditions first, then properties and outputs."""

import base64
import ipaddress
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

from tule.languages.cloudformation.checking import VARIABLE, call_of, get_att_parts, refuse_function, sub_parts
from tule.languages.cloudformation.errors import TemplateError
from tule.languages.cloudformation.parameters import text_of
from tule.languages.cloudformation.template import Template


class _NoValue:
    """AWS::NoValue: what holds it is left out."""

    def __repr__(self) -> str:
        return "AWS::NoValue"


NO_VALUE: Final = _NoValue()

ZONE_LETTERS = "abc"
"""Zones of a region that Fn::GetAZs names (ours: three, as most regions have)."""


class Resources(Protocol):
    """What is known of resources when a value is reckoned."""

    def ref(self, logical_id: str) -> str:
        """The physical id."""

    def attribute(self, logical_id: str, name: str) -> Any:
        """An attribute of Fn::GetAtt; raises `TemplateError` for one that does not exist."""

    def imported(self, export: str) -> str:
        """The value of an export."""


@dataclass(frozen=True, slots=True)
class Scope:
    """Everything a function may ask for."""

    template: Template
    parameters: Mapping[str, Any]
    """Values of Ref by parameter name."""
    pseudo: Mapping[str, Any]
    """Values of the pseudo parameters, by their full names."""
    conditions: Mapping[str, bool] = field(default_factory=dict)


def evaluate_conditions(
    template: Template, parameters: Mapping[str, Any], pseudo: Mapping[str, Any]
) -> dict[str, bool]:
    """Whether each condition holds. `checking.check` has made sure that they do not go in circles."""
    known: dict[str, bool] = {}
    evaluator = Evaluator(Scope(template, parameters, pseudo, known), None)

    def settle(name: str) -> bool:
        if name not in known:
            known[name] = evaluator.holds(template.conditions[name], settle)
        return known[name]

    evaluator.condition_of = settle
    for name in template.conditions:
        settle(name)
    return known


class Evaluator:
    """Reckons values in a scope."""

    def __init__(self, scope: Scope, resources: Resources | None) -> None:
        self._scope = scope
        self._resources = resources
        self.condition_of: Callable[[str], bool] = lambda name: scope.conditions[name]
        self._functions: dict[str, Callable[[Any], Any]] = {
            "Ref": self._ref,
            "Fn::Base64": self._base64,
            "Fn::Cidr": self._cidr,
            "Fn::FindInMap": self._find_in_map,
            "Fn::GetAZs": self._get_azs,
            "Fn::GetAtt": self._get_att,
            "Fn::If": self._if,
            "Fn::ImportValue": self._import_value,
            "Fn::Join": self._join,
            "Fn::Select": self._select,
            "Fn::Split": self._split,
            "Fn::Sub": self._sub,
        }

    def value(self, value: Any) -> Any:
        """`value` with every function replaced by what it gives. May be `NO_VALUE`."""
        if isinstance(value, list):
            return [part for part in map(self.value, value) if part is not NO_VALUE]
        if not isinstance(value, dict):
            return value
        call = call_of(value)
        if call is None:
            members = ((name, self.value(part)) for name, part in value.items())
            return {name: part for name, part in members if part is not NO_VALUE}
        function = self._functions.get(call.name)
        if function is None:
            refuse_function(call.name)
            return self.holds(value, self.condition_of)
        return function(call.argument)

    def text(self, value: Any, complaint: str) -> str:
        """A value that must be a scalar, as text."""
        found = self.value(value)
        if isinstance(found, (dict, list)) or found is NO_VALUE:
            raise TemplateError(complaint)
        return text_of(found)

    def holds(self, value: Any, condition_of: Callable[[str], bool]) -> bool:  # noqa: PLR0911 - a case a line
        """Whether a condition holds."""
        if isinstance(value, bool):
            return value
        if isinstance(value, str) and value.lower() in ("true", "false"):
            return value.lower() == "true"
        if isinstance(value, dict) and len(value) == 1:
            ((name, argument),) = value.items()
            match name:
                case "Condition":
                    return condition_of(argument)
                case "Fn::Equals":
                    return self._equals(argument)
                case "Fn::Not":
                    return not self.holds(_boolean_list(name, argument, 1, 1)[0], condition_of)
                case "Fn::And":
                    return all(self._each(name, argument, condition_of))
                case "Fn::Or":
                    return any(self._each(name, argument, condition_of))
            if name in self._functions:
                return self.holds(self.value(value), condition_of)
        raise TemplateError("Template error: every condition must be one of Fn::And, Fn::Equals, Fn::Not and Fn::Or.")

    def _each(self, name: str, argument: Any, condition_of: Callable[[str], bool]) -> list[bool]:
        return [self.holds(part, condition_of) for part in _boolean_list(name, argument, 2, 10)]

    def _equals(self, argument: Any) -> bool:
        complaint = "Template error: every Fn::Equals object requires a list of 2 string parameters."
        if not isinstance(argument, list) or len(argument) != 2:
            raise TemplateError(complaint)
        return self.text(argument[0], complaint) == self.text(argument[1], complaint)

    def _ref(self, name: Any) -> Any:
        if name == "AWS::NoValue":
            return NO_VALUE
        if name in self._scope.parameters:
            return self._scope.parameters[name]
        if name in self._scope.pseudo:
            return self._scope.pseudo[name]
        return self._known_resources().ref(name)

    def _known_resources(self) -> Resources:
        if self._resources is None:
            raise TemplateError(
                "Template format error: Cannot reference resources in the Conditions block of the template"
            )
        return self._resources

    def _get_att(self, argument: Any) -> Any:
        resource, attribute = get_att_parts(argument)
        name = self.text(attribute, "Template error: the attribute of Fn::GetAtt must be a string")
        return self._known_resources().attribute(resource, name)

    def _import_value(self, argument: Any) -> str:
        name = self.text(argument, "Template error: the attribute in Fn::ImportValue must be a string or a function")
        return self._known_resources().imported(name)

    def _base64(self, argument: Any) -> str:
        text = self.text(argument, "Template error: every Fn::Base64 object must have a String-typed value.")
        return base64.b64encode(text.encode()).decode()

    def _join(self, argument: Any) -> str:
        complaint = (
            "Template error: every Fn::Join object requires two parameters, (1) a string delimiter and (2) a list of "
            "strings to be joined or a function that returns a list of strings (such as Fn::GetAZs) to be joined."
        )
        if not isinstance(argument, list) or len(argument) != 2 or not isinstance(argument[0], str):
            raise TemplateError(complaint)
        parts = self.value(argument[1])
        if not isinstance(parts, list) or any(isinstance(part, (dict, list)) for part in parts):
            raise TemplateError(complaint)
        return argument[0].join(text_of(part) for part in parts)

    def _select(self, argument: Any) -> Any:
        complaint = "Template error: Fn::Select requires a list argument with two elements: an integer index and a list"
        if not isinstance(argument, list) or len(argument) != 2:
            raise TemplateError(complaint)
        index, parts = self.text(argument[0], complaint), self.value(argument[1])
        if not index.isdecimal() or not isinstance(parts, list) or int(index) >= len(parts):
            raise TemplateError(complaint)
        return parts[int(index)]

    def _split(self, argument: Any) -> list[str]:
        complaint = (
            "Template error: every Fn::Split object requires two parameters, (1) a string delimiter and (2) a string "
            "to be split or a function that returns a string to be split."
        )
        if not isinstance(argument, list) or len(argument) != 2 or not isinstance(argument[0], str) or not argument[0]:
            raise TemplateError(complaint)
        return self.text(argument[1], complaint).split(argument[0])

    def _sub(self, argument: Any) -> str:
        text, variables = sub_parts(argument)

        def fill(match: re.Match[str]) -> str:
            name = match[1].strip()
            if name.startswith("!"):
                return "${" + name[1:] + "}"
            complaint = f"Template error: the value of {name} in Fn::Sub must be a string"
            if name in variables:
                return self.text(variables[name], complaint)
            known = (
                name in self._scope.parameters or name in self._scope.pseudo or name in self._scope.template.resources
            )
            return self.text({"Ref": name} if known else {"Fn::GetAtt": name.split(".", 1)}, complaint)

        return VARIABLE.sub(fill, text)

    def _if(self, argument: Any) -> Any:
        name, when_true, when_false = argument
        return self.value(when_true if self.condition_of(name) else when_false)

    def _find_in_map(self, argument: Any) -> Any:
        complaint = (
            "Template error: every Fn::FindInMap object requires three parameters, the map name, map key and the "
            "attribute for return value"
        )
        if not isinstance(argument, list) or len(argument) != 3:
            raise TemplateError(complaint)
        mapping, key, attribute = (self.text(part, complaint) for part in argument)
        try:
            found = self._scope.template.mappings[mapping][key][attribute]
        except KeyError:
            raise TemplateError(f"Template error: Unable to get mapping for {mapping}::{key}::{attribute}") from None
        return found

    def _get_azs(self, argument: Any) -> list[str]:
        region = self.text(argument, "Template error: Fn::GetAZs requires the name of a region")
        return [f"{region or self._scope.pseudo['AWS::Region']}{letter}" for letter in ZONE_LETTERS]

    def _cidr(self, argument: Any) -> list[str]:
        complaint = (
            "Template error: every Fn::Cidr object requires an ipBlock, a count from 1 to 256 and optionally cidrBits"
        )
        if not isinstance(argument, list) or len(argument) not in (2, 3):
            raise TemplateError(complaint)
        texts = [self.text(part, complaint) for part in argument]
        try:
            network = ipaddress.ip_network(texts[0])
            count, bits = int(texts[1]), int(texts[2]) if len(texts) == 3 else 0
        except ValueError:
            raise TemplateError(complaint) from None
        prefix = network.max_prefixlen - bits if len(texts) == 3 else network.prefixlen + (count - 1).bit_length()
        if not 1 <= count <= 256 or not network.prefixlen <= prefix <= network.max_prefixlen:
            raise TemplateError(complaint)
        if 1 << (prefix - network.prefixlen) < count:
            raise TemplateError(f"Template error: Fn::Cidr can not fit {count} blocks of /{prefix} into {texts[0]}")
        subnets = network.subnets(new_prefix=prefix)
        return [str(next(subnets)) for _ in range(count)]


def _boolean_list(name: str, argument: Any, least: int, most: int) -> list[Any]:
    if not isinstance(argument, list) or not least <= len(argument) <= most:
        rule = "one boolean parameter" if most == 1 else (
            f"a list of at least {least} and at most {most} boolean parameters"
        )  # fmt: skip
        raise TemplateError(f"Template error: every {name} object requires {rule}.")
    return argument
