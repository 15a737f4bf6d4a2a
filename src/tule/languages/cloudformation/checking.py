"""What can be told of a template's functions and references before any value is known."""

import re
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from tule.languages.cloudformation.errors import TemplateError
from tule.languages.cloudformation.parameters import check_declarations
from tule.languages.cloudformation.template import Template

PSEUDO_PARAMETERS = frozenset(
    {
        "AWS::AccountId",
        "AWS::NoValue",
        "AWS::NotificationARNs",
        "AWS::Partition",
        "AWS::Region",
        "AWS::StackId",
        "AWS::StackName",
        "AWS::URLSuffix",
    }
)

FUNCTIONS = (
    "Fn::And",
    "Fn::Base64",
    "Fn::Cidr",
    "Fn::Equals",
    "Fn::FindInMap",
    "Fn::GetAZs",
    "Fn::GetAtt",
    "Fn::If",
    "Fn::ImportValue",
    "Fn::Join",
    "Fn::Not",
    "Fn::Or",
    "Fn::Select",
    "Fn::Split",
    "Fn::Sub",
)

_EXTENSIONS = frozenset(["Fn::ToJsonString", "Fn::Length", "Fn::Transform", "Fn::GetStackOutput"])
_CONDITION_FUNCTIONS = frozenset(["Fn::And", "Fn::Equals", "Fn::FindInMap", "Fn::If", "Fn::Not", "Fn::Or", "Ref",
                                  "Condition", "Fn::Sub", "Fn::Join", "Fn::Select", "Fn::Split"])  # fmt: skip

VARIABLE = re.compile(r"\$\{([^}]*)\}")
_VARIABLE_NAME = re.compile(r"[A-Za-z0-9_.:]+")
_DYNAMIC = re.compile(r"\{\{resolve:(ssm|ssm-secure|secretsmanager):")


class Call(NamedTuple):
    """A function in a template: `name` is "Ref", "Condition" or "Fn::..."."""

    name: str
    argument: Any


def call_of(value: Any) -> Call | None:
    """The function that a mapping is, or None for a plain value."""
    if not isinstance(value, dict):
        return None
    if len(value) == 1:
        ((name, argument),) = value.items()
        if name == "Ref" or name.startswith("Fn::"):
            return Call(name, argument)
        return None
    for name in value:
        if isinstance(name, str) and name.startswith("Fn::") and not name.startswith("Fn::Transform"):
            raise TemplateError(f"Template error: {name} must be the only member of its object")
    return None


def sub_parts(argument: Any) -> tuple[str, Mapping[str, Any]]:
    """The text and the variables of an Fn::Sub, in either of its forms."""
    text, variables = argument if isinstance(argument, list) and len(argument) == 2 else (argument, {})
    if not isinstance(text, str) or not isinstance(variables, dict):
        raise TemplateError(
            "Template error: One or more Fn::Sub intrinsic functions don't specify expected arguments. Specify a "
            "string as first argument, and an optional second argument to specify a mapping of values to "
            "replace in the string"
        )
    return text, variables


def sub_names(text: str) -> Iterator[str]:
    """The names that the text of an Fn::Sub asks for; `${!Literal}` asks for none."""
    for match in VARIABLE.finditer(text):
        name = match[1].strip()
        if name.startswith("!"):
            continue
        if not _VARIABLE_NAME.fullmatch(name):
            raise TemplateError(
                "Template error: variable names in Fn::Sub syntax must contain only alphanumeric characters, "
                "underscores, periods, and colons"
            )
        yield name


def get_att_parts(argument: Any) -> tuple[str, Any]:
    """Resource and attribute of an Fn::GetAtt; the attribute may be a function."""
    parts = argument.split(".", 1) if isinstance(argument, str) else argument
    if (
        not isinstance(parts, list)
        or len(parts) < 2
        or not all(parts)
        or not isinstance(parts[0], str)
        or (len(parts) > 2 and not all(isinstance(part, str) for part in parts))
    ):
        raise TemplateError(
            "Template error: every Fn::GetAtt object requires two non-empty parameters, the resource name and the "
            "resource attribute"
        )
    return parts[0], parts[1] if len(parts) == 2 else ".".join(parts[1:])


def check(template: Template) -> None:
    """Refuse unknown functions, references to nothing and conditions that do not exist."""
    check_declarations(template.parameters)
    for name, condition in template.conditions.items():
        _check_condition(template, name, condition)
    _check_condition_cycles(template.conditions)
    unresolved: list[str] = []
    for resource in template.resources.values():
        if resource.condition is not None and resource.condition not in template.conditions:
            raise TemplateError(
                f"Template format error: Unresolved condition dependency {resource.condition} in the Resources block "
                "of the template"
            )
        unresolved += [name for name in resource.depends_on if name not in template.resources]
        unresolved += _check_value(template, resource.properties)
    _refuse_unresolved(unresolved, "Resources")
    unresolved = []
    for output in template.outputs.values():
        if output.condition is not None and output.condition not in template.conditions:
            raise TemplateError(
                f"Template format error: Unresolved condition dependency {output.condition} in the Outputs block of "
                "the template"
            )
        unresolved += _check_value(template, [output.value, output.export_name])
    _refuse_unresolved(unresolved, "Outputs")


def _refuse_unresolved(names: list[str], block: str) -> None:
    if names:
        listed = ", ".join(dict.fromkeys(names))
        raise TemplateError(
            f"Template format error: Unresolved resource dependencies [{listed}] in the {block} block of the template"
        )


def refuse_function(name: str) -> None:
    """Refuse a function that is unknown, or known and not done."""
    if name in _EXTENSIONS or name.startswith("Fn::ForEach"):
        raise TemplateError(f"Tule does not implement {name} yet (it needs a macro or AWS::LanguageExtensions).")
    if name not in FUNCTIONS and name != "Ref":
        raise TemplateError(
            f"Template format error: Encountered unsupported function: {name} Supported functions are: "
            f"[{', '.join(FUNCTIONS)}]"
        )


def _check_value(template: Template, value: Any) -> list[str]:
    """Names under `value` that the template does not define."""
    unresolved: list[str] = []
    waiting = [value]
    while waiting:
        part = waiting.pop()
        if isinstance(part, str):
            if found := _DYNAMIC.search(part):
                raise TemplateError(f"Tule does not implement dynamic references to {found[1]} yet: {part[:200]}")
            continue
        if isinstance(part, list):
            waiting += part
            continue
        if not isinstance(part, dict):
            continue
        call = call_of(part)
        if call is None:
            waiting += part.values()
            continue
        refuse_function(call.name)
        unresolved += _unresolved_by(template, call)
        waiting += call.argument if isinstance(call.argument, list) else [call.argument] if call.name != "Ref" else []
    return unresolved


def _defined(template: Template, name: str) -> bool:
    return name in template.resources or name in template.parameters or name in PSEUDO_PARAMETERS


def _check_if(template: Template, argument: Any) -> None:
    if not isinstance(argument, list) or len(argument) != 3:
        raise TemplateError("Template error: Fn::If requires a list argument with three elements")
    if not isinstance(argument[0], str) or argument[0] not in template.conditions:
        raise TemplateError(f"Template error: unresolved condition dependency {argument[0]} in Fn::If")


def _ref_name(argument: Any) -> str:
    if not isinstance(argument, str):
        raise TemplateError("Template format error: every Ref object must have a single String value.")
    return argument


def _unresolved_by(template: Template, call: Call) -> list[str]:
    if call.name == "Ref":
        name = _ref_name(call.argument)
        return [] if _defined(template, name) else [name]
    if call.name == "Fn::GetAtt":
        resource, _ = get_att_parts(call.argument)
        if resource not in template.resources:
            raise TemplateError(f"Template error: instance of Fn::GetAtt references undefined resource {resource}")
    elif call.name == "Fn::Sub":
        text, variables = sub_parts(call.argument)
        names = [name for name in sub_names(text) if name not in variables]
        return [
            name
            for name in names
            if not _defined(template, name) and ("." not in name or name.split(".", 1)[0] not in template.resources)
        ]
    elif call.name == "Fn::If":
        _check_if(template, call.argument)
    return []


def _check_condition(template: Template, name: str, condition: Any) -> None:
    waiting = [condition]
    while waiting:
        part = waiting.pop()
        if isinstance(part, list):
            waiting += part
        if not isinstance(part, dict):
            continue
        if set(part) == {"Condition"}:
            if not isinstance(part["Condition"], str) or part["Condition"] not in template.conditions:
                raise TemplateError(f"Template error: unresolved condition dependency {part['Condition']} in {name}")
            continue
        call = call_of(part)
        if call is None:
            waiting += part.values()
            continue
        refuse_function(call.name)
        if call.name not in _CONDITION_FUNCTIONS:
            raise TemplateError(f"Template error: {call.name} cannot be used in the Conditions block of the template")
        if call.name == "Fn::If":
            _check_if(template, call.argument)
        asked = [_ref_name(call.argument)] if call.name == "Ref" else []
        if call.name == "Fn::Sub":
            text, variables = sub_parts(call.argument)
            asked = [found for found in sub_names(text) if found not in variables]
        for reference in asked:
            if reference not in template.parameters and reference not in PSEUDO_PARAMETERS:
                raise TemplateError(
                    f"Template format error: Unresolved dependencies [{reference}]. Cannot reference resources in the "
                    "Conditions block of the template"
                )
        waiting += call.argument if isinstance(call.argument, list) else [] if call.name == "Ref" else [call.argument]


def _check_condition_cycles(conditions: Mapping[str, Any]) -> None:
    asked = {name: set(_conditions_in(condition)) for name, condition in conditions.items()}
    done: set[str] = set()
    while ready := [name for name, needs in asked.items() if name not in done and needs <= done]:
        done.update(ready)
    if circular := [name for name in conditions if name not in done]:
        raise TemplateError(f"Template error: Circular dependency between conditions: [{', '.join(circular)}]")


def _conditions_in(value: Any) -> Iterator[str]:
    waiting = [value]
    while waiting:
        part = waiting.pop()
        if isinstance(part, dict):
            if set(part) == {"Condition"} and isinstance(part["Condition"], str):
                yield part["Condition"]
            waiting += part.values()
            if isinstance(branch := part.get("Fn::If"), list) and branch and isinstance(branch[0], str):
                yield branch[0]
        elif isinstance(part, list):
            waiting += part
