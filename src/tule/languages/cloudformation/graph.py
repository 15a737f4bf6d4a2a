"""Which resources exist under the conditions, what each one needs, and the order that follows."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from tule.languages.cloudformation.checking import Call, call_of, get_att_parts, sub_names, sub_parts
from tule.languages.cloudformation.errors import TemplateError
from tule.languages.cloudformation.template import Template


def included(template: Template, conditions: Mapping[str, bool]) -> list[str]:
    """Logical ids of the resources whose condition holds, in the template's order."""
    return [
        logical_id
        for logical_id, resource in template.resources.items()
        if resource.condition is None or conditions[resource.condition]
    ]


def references(value: Any, conditions: Mapping[str, bool] | None = None) -> set[str]:
    """Names that `value` asks for by Ref, Fn::GetAtt or Fn::Sub: resources, parameters and pseudo parameters.

    With `conditions`, the branch of an Fn::If that is not taken asks for nothing.
    """
    found: set[str] = set()
    waiting = [value]
    while waiting:
        part = waiting.pop()
        if isinstance(part, list):
            waiting += part
        elif isinstance(part, dict):
            call = call_of(part)
            waiting += list(part.values()) if call is None else list(_arguments(call, found, conditions))
    return found


def _arguments(call: Call, found: set[str], conditions: Mapping[str, bool] | None) -> Iterator[Any]:
    """Note what a function asks for; yield what remains to be looked at."""
    match call.name:
        case "Ref":
            found.add(call.argument)
        case "Fn::GetAtt":
            resource, attribute = get_att_parts(call.argument)
            found.add(resource)
            yield attribute
        case "Fn::Sub":
            text, variables = sub_parts(call.argument)
            for name in sub_names(text):
                if name not in variables:
                    found.update({name, name.split(".", 1)[0]})
            yield from variables.values()
        case "Fn::If" if conditions is not None:
            yield call.argument[1 if conditions[call.argument[0]] else 2]
        case _:
            yield call.argument


def dependencies(template: Template, conditions: Mapping[str, bool]) -> dict[str, set[str]]:
    """For each included resource, those it needs. Refuses references to resources that are left out, and circles."""
    present = set(included(template, conditions))
    needs: dict[str, set[str]] = {}
    missing: list[str] = []
    for logical_id in included(template, conditions):
        resource = template.resources[logical_id]
        asked = references(resource.properties, conditions) & template.resources.keys()
        missing += sorted(asked - present)
        needs[logical_id] = asked | (set(resource.depends_on) & present)
    if missing:
        raise _unresolved(missing, "Template format error: ", "Resources")
    if circular := circle(needs):
        raise TemplateError(f"Circular dependency between resources: [{', '.join(circular)}]")
    missing = []
    for output in template.outputs.values():
        if output.condition is None or conditions[output.condition]:
            asked = references([output.value, output.export_name], conditions) & template.resources.keys()
            missing += sorted(asked - present)
    if missing:
        raise _unresolved(missing, "", "Outputs")
    return needs


def _unresolved(names: list[str], start: str, block: str) -> TemplateError:
    listed = ", ".join(dict.fromkeys(names))
    return TemplateError(f"{start}Unresolved resource dependencies [{listed}] in the {block} block of the template")


def circle(needs: Mapping[str, set[str]]) -> list[str]:
    """The resources that wait for one another, and no others; none if there is an order."""
    waiting = _peel(needs, lambda name, rest: not needs[name] & rest)
    needed = {name: {other for other in waiting if name in needs[other]} for name in waiting}
    return [name for name in needs if name in _peel(needed, lambda name, rest: not needed[name] & rest)]


def _peel(nodes: Mapping[str, Any], loose: Callable[[str, set[str]], bool]) -> set[str]:
    rest = set(nodes)
    while gone := {name for name in rest if loose(name, rest)}:
        rest -= gone
    return rest


def in_order(needs: Mapping[str, set[str]]) -> list[str]:
    """The resources, each after those it needs, otherwise in the given order. An absent one counts as there."""
    order: list[str] = []
    done: set[str] = set()
    while len(order) < len(needs):
        ready = [name for name in needs if name not in done and (needs[name] & needs.keys()) <= done]
        assert ready, "circles are refused before"
        order += ready
        done.update(ready)
    return order
