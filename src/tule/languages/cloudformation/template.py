"""The parts of a template, checked for their structure."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from tule.languages.cloudformation.errors import TemplateError
from tule.languages.cloudformation.parsing import Document

MAX_RESOURCES = 500
MAX_PARAMETERS = 200
MAX_OUTPUTS = 200
MAX_MAPPINGS = 200
"""CloudFormation quotas."""

SAM_TRANSFORM = "AWS::Serverless-2016-10-31"

_SECTIONS = frozenset(
    {
        "AWSTemplateFormatVersion",
        "Description",
        "Metadata",
        "Parameters",
        "Rules",
        "Mappings",
        "Conditions",
        "Transform",
        "Resources",
        "Outputs",
        "Hooks",
        "Globals",
    }
)
_RESOURCE_MEMBERS = frozenset(
    {
        "Type",
        "Properties",
        "Metadata",
        "DependsOn",
        "Condition",
        "DeletionPolicy",
        "UpdateReplacePolicy",
        "CreationPolicy",
        "UpdatePolicy",
        "Connectors",
        "IgnoreGlobals",
    }
)
_POLICIES = frozenset(["Delete", "Retain", "RetainExceptOnCreate", "Snapshot"])
_NAME = re.compile(r"[A-Za-z0-9]+")


@dataclass(frozen=True, slots=True)
class Resource:
    """One member of Resources. `properties` still hold their functions."""

    logical_id: str
    type: str
    properties: Mapping[str, Any] = field(default_factory=dict)
    metadata: Any = None
    depends_on: tuple[str, ...] = ()
    condition: str | None = None
    deletion_policy: str = "Delete"
    update_replace_policy: str = "Delete"


@dataclass(frozen=True, slots=True)
class Output:
    """One member of Outputs."""

    name: str
    value: Any
    description: str = ""
    condition: str | None = None
    export_name: Any = None


@dataclass(frozen=True, slots=True)
class Template:
    """A template whose structure is right; functions and references are checked by `checking`."""

    document: Document
    resources: Mapping[str, Resource]
    parameters: Mapping[str, Mapping[str, Any]]
    mappings: Mapping[str, Mapping[str, Mapping[str, Any]]]
    conditions: Mapping[str, Any]
    outputs: Mapping[str, Output]
    transforms: tuple[str, ...]
    description: str
    metadata: Any


def read_template(document: Document) -> Template:
    """The parts of a template, or a `TemplateError` that says what is wrong with its structure."""
    value = document.value
    _refuse_unknown(value)
    _refuse_null(value)
    description = value.get("Description", "")
    if not isinstance(description, str):
        raise TemplateError("Template format error: [/Description] Every Description member must be a string.")
    transforms = _transforms(value.get("Transform"))
    return Template(
        document=document,
        resources=_resources(value.get("Resources"), document),
        parameters=_section(value, "Parameters", "Parameter", MAX_PARAMETERS),
        mappings=_mappings(value),
        conditions=_conditions(value),
        outputs=_outputs(value),
        transforms=transforms,
        description=description,
        metadata=value.get("Metadata"),
    )


def _refuse_unknown(value: Mapping[str, Any]) -> None:
    version = value.get("AWSTemplateFormatVersion", "2010-09-09")
    if version != "2010-09-09":
        raise TemplateError(f"Template format error: {version} is not a supported value for AWSTemplateFormatVersion.")
    unknown = sorted(str(name) for name in value if name not in _SECTIONS)
    if unknown:
        raise TemplateError(f"Invalid template property or properties [{', '.join(unknown)}]")
    for section in ("Rules", "Hooks"):
        if value.get(section):
            raise TemplateError(
                f"Tule does not honour the {section} section of a template yet. Remove it to deploy this template."
            )


def _refuse_null(value: Any) -> None:
    waiting: list[tuple[str, Any]] = [("", value)]
    while waiting:
        path, part = waiting.pop()
        if part is None:
            raise TemplateError(f"[{path}] 'null' values are not allowed in templates")
        if isinstance(part, dict):
            waiting += [(f"{path}/{name}", child) for name, child in part.items()]
        elif isinstance(part, list):
            waiting += [(f"{path}/{index}", child) for index, child in enumerate(part)]


def _transforms(value: Any) -> tuple[str, ...]:
    named = value if isinstance(value, list) else [] if value is None else [value]
    names = []
    for entry in named:
        name = entry.get("Name") if isinstance(entry, dict) else entry
        if not isinstance(name, str):
            raise TemplateError("Key Name of transform definition must be a string.")
        names.append(name)
    return tuple(names)


def _section(value: Mapping[str, Any], name: str, noun: str, limit: int) -> dict[str, Any]:
    section = value.get(name, {})
    if not isinstance(section, dict):
        raise TemplateError(f"Template format error: {name} must be an object.")
    if len(section) > limit:
        raise TemplateError(
            f"Template format error: Number of {name.lower()}, {len(section)}, is greater than maximum allowed, {limit}"
        )
    for key, member in section.items():
        if not _NAME.fullmatch(key):
            raise TemplateError(f"Template format error: {noun} name {key} is non alphanumeric.")
        if name != "Conditions" and not isinstance(member, dict):
            raise TemplateError(f"Template format error: Every {name} member {key} must be a map")
    return section


def _mappings(value: Mapping[str, Any]) -> dict[str, Any]:
    section = _section(value, "Mappings", "Mapping", MAX_MAPPINGS)
    for mapping in section.values():
        for key, attributes in mapping.items():
            if not isinstance(attributes, dict):
                raise TemplateError(f"Template format error: Every Mappings member {key} must be a map")
            for attribute in attributes.values():
                members = attribute if isinstance(attribute, list) else [attribute]
                if any(isinstance(member, (dict, list)) for member in members):
                    raise TemplateError("Template format error: Every Mappings attribute must be a String or a List.")
    return section


def _conditions(value: Mapping[str, Any]) -> dict[str, Any]:
    section = _section(value, "Conditions", "Condition", MAX_RESOURCES)
    for name, condition in section.items():
        if not isinstance(condition, (dict, bool)):
            raise TemplateError(f"Template format error: Every Conditions member {name} must be an object.")
    return section


def _resources(section: Any, document: Document) -> dict[str, Resource]:
    if section is None or section == {}:
        raise TemplateError("Template format error: At least one Resources member must be defined.")
    if not isinstance(section, dict):
        raise TemplateError("Template format error: Resources must be an object.")
    if len(section) > MAX_RESOURCES:
        raise TemplateError(
            f"Template format error: Number of resources, {len(section)}, is greater than maximum allowed, "
            f"{MAX_RESOURCES}"
        )
    return {logical_id: _resource(logical_id, body, document) for logical_id, body in section.items()}


def _resource(logical_id: str, body: Any, document: Document) -> Resource:
    where = document.where("Resources", logical_id)
    if logical_id.startswith("Fn::"):
        raise TemplateError(f"Tule does not implement {logical_id} in the Resources block yet.{where}")
    if not _NAME.fullmatch(logical_id):
        raise TemplateError(f"Template format error: Resource name {logical_id} is non alphanumeric.")
    if not isinstance(body, dict):
        raise TemplateError("Template format error: Any Resources member must be an object.")
    for member in body:
        if member not in _RESOURCE_MEMBERS:
            raise TemplateError(f"Invalid template resource property '{member}'")
    if "Type" not in body:
        raise TemplateError(
            f"Template format error: [/Resources/{logical_id}] Every Resources object must contain a Type member."
        )
    if not isinstance(body["Type"], str):
        raise TemplateError(f"Template format error: [/Resources/{logical_id}/Type] 'Type' must be a string.")
    properties = body.get("Properties", {})
    if not isinstance(properties, dict):
        raise TemplateError(f"Template format error: [/Resources/{logical_id}/Properties] must be an object.")
    for member in ("CreationPolicy", "UpdatePolicy"):
        if body.get(member):
            raise TemplateError(f"Tule does not honour {member} yet: resource {logical_id} has one.{where}")
    return Resource(
        logical_id=logical_id,
        type=body["Type"],
        properties=properties,
        metadata=body.get("Metadata"),
        depends_on=_depends_on(logical_id, body.get("DependsOn", [])),
        condition=_condition_name(logical_id, body.get("Condition")),
        deletion_policy=_policy(logical_id, "DeletionPolicy", body),
        update_replace_policy=_policy(logical_id, "UpdateReplacePolicy", body),
    )


def _depends_on(logical_id: str, value: Any) -> tuple[str, ...]:
    names = [value] if isinstance(value, str) else value
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise TemplateError(
            f"Template format error: [/Resources/{logical_id}/DependsOn] DependsOn must be a string or a list "
            "of strings."
        )
    return tuple(names)


def _condition_name(owner: str, value: Any) -> str | None:
    if value is not None and not isinstance(value, str):
        raise TemplateError(f"Template format error: Every Condition member must be a string. ({owner})")
    return value


def _policy(logical_id: str, member: str, body: Mapping[str, Any]) -> str:
    policy = body.get(member, "Delete")
    if (
        not isinstance(policy, str)
        or policy not in _POLICIES
        or (member == "UpdateReplacePolicy" and policy == "RetainExceptOnCreate")
    ):
        raise TemplateError(f"Template error: Unrecognized {member} {policy} for resource {logical_id}")
    if policy == "Snapshot":
        raise TemplateError(f"Template error: resource type {body['Type']} does not support deletion policy Snapshot")
    return policy


def _outputs(value: Mapping[str, Any]) -> dict[str, Output]:
    outputs = {}
    for name, body in _section(value, "Outputs", "Output", MAX_OUTPUTS).items():
        if "Value" not in body:
            raise TemplateError("Template format error: Every Outputs member must contain a Value object")
        export = body.get("Export")
        if export is not None and (not isinstance(export, dict) or set(export) != {"Name"}):
            raise TemplateError(f"Template format error: [/Outputs/{name}/Export] Export must have a Name and no more.")
        outputs[name] = Output(
            name=name,
            value=body["Value"],
            description=str(body.get("Description", "")),
            condition=_condition_name(name, body.get("Condition")),
            export_name=export["Name"] if export else None,
        )
    return outputs
