"""What a new definition would change: what change sets show and updates without changes are refused by."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from tule.languages.cloudformation.graph import references
from tule.languages.cloudformation.template import Resource, Template
from tule.services.cloudformation.errors import ValidationError
from tule.services.cloudformation.exports import Export
from tule.services.cloudformation.models import Change, Definition, OutputValue, PropertyChange, StackResource
from tule.services.cloudformation.submission import Compiled
from tule.services.cloudformation.types import check_values, get
from tule.services.cloudformation.values import KnownResources, evaluator, outputs
from tule.services.resources import UNKNOWN, ResourceType


@dataclass(slots=True)
class Plan:
    """The changes in the template's order, and the outputs as far as they can be told."""

    changes: list[Change] = field(default_factory=list)
    outputs: list[OutputValue] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Existing:
    """What is there: resources, the template they came from, its parameters and the stack's tags."""

    records: Mapping[str, StackResource]
    template: Template | None
    parameters: Mapping[str, str]
    tags: Mapping[str, str] = field(default_factory=dict)


def plan(compiled: Compiled, existing: Existing, exports: Mapping[str, Export], wanted: Definition) -> Plan:
    """Compare. Refuses a changed type and values that a resource's service can't take."""
    _refuse_new_types(compiled, existing.records)
    coming: set[str] = set()
    known = KnownResources(existing.records, exports, coming)
    reckon = evaluator(compiled, known)
    moved = {name for name, value in wanted.parameters.items() if existing.parameters.get(name) != value}
    retagged = existing.tags != wanted.tags
    found = Plan()
    for logical_id in compiled.order:
        resource = compiled.template.resources[logical_id]
        properties = reckon.value(resource.properties)
        check_values(compiled.template, resource, properties)
        record = existing.records.get(logical_id)
        if record is None or not record.physical_id:
            coming.add(logical_id)
            found.changes.append(Change(action="Add", logical_id=logical_id, type=resource.type))
            continue
        before = existing.template.resources.get(logical_id) if existing.template else None
        details = _details(resource, before, record, properties, _Causes(compiled, moved))
        if retagged and takes_tags(resource.type):
            details.append(PropertyChange(attribute="Tags"))
        if not details and record.status not in ("UPDATE_FAILED", "CREATE_FAILED"):
            continue
        replacement = _replacement(details)
        if replacement != "False":
            coming.add(logical_id)
        found.changes.append(_modify(record, resource, replacement, details))
    found.changes += [_remove(record) for name, record in existing.records.items() if name not in compiled.needs]
    found.outputs = outputs(compiled, known)
    return found


def takes_tags(type_name: str) -> bool:
    """Whether a change of the stack's tags is a change of such a resource."""
    type_ = get(type_name)
    return "Tags" in type_.properties and type_.update is not None


def _refuse_new_types(compiled: Compiled, records: Mapping[str, StackResource]) -> None:
    changed = [
        name
        for name in compiled.needs
        if name in records and records[name].type != compiled.template.resources[name].type
    ]
    if changed:
        raise ValidationError(
            "Update of resource type is not permitted. The new template modifies resource type of the following "
            f"resources: [{', '.join(changed)}]"
        )


@dataclass(frozen=True, slots=True)
class _Causes:
    """What is needed to say why a property changed."""

    compiled: Compiled
    moved: set[str]
    """Parameters with a new value."""


def _details(
    resource: Resource, before: Resource | None, record: StackResource, properties: Mapping[str, Any], causes: _Causes
) -> list[PropertyChange]:
    type_ = get(resource.type)
    found = []
    for name in sorted({*properties, *record.properties}):
        new, old = properties.get(name), record.properties.get(name)
        if new != old:
            found.append(_property(name, type_, resource, before, new, causes))
    for attribute, new, old in (
        ("Metadata", resource.metadata, record.metadata),
        ("DeletionPolicy", resource.deletion_policy, record.deletion_policy),
        ("UpdateReplacePolicy", resource.update_replace_policy, record.update_replace_policy),
    ):
        if new != old:
            found.append(PropertyChange(attribute=attribute))
    return found


def _property(
    name: str, type_: ResourceType, resource: Resource, before: Resource | None, new: Any, causes: _Causes
) -> PropertyChange:
    written = resource.properties.get(name)
    direct = before is not None and before.properties.get(name) != written
    asked = references(written, causes.compiled.conditions)
    unknown = _has_unknown(new)
    recreates = type_.update is None or name in type_.replace_on
    recreation: Literal["Never", "Conditionally", "Always"] = "Never"
    if recreates:
        recreation = "Conditionally" if unknown and not direct else "Always"
    source, cause = "DirectModification", ""
    if not direct and (parameters := sorted(asked & causes.moved)):
        source, cause = "ParameterReference", parameters[0]
    elif not direct and (resources := sorted(asked & causes.compiled.needs.keys())):
        source, cause = "ResourceReference", resources[0]
    return PropertyChange(
        attribute="Properties",
        name=name,
        recreation=recreation,
        evaluation="Dynamic" if unknown else "Static",
        source=source,
        cause=cause,
    )


def _has_unknown(value: Any) -> bool:
    if isinstance(value, str):
        return UNKNOWN in value
    parts = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return any(_has_unknown(part) for part in parts)


def _replacement(details: list[PropertyChange]) -> Literal["True", "False", "Conditional"]:
    kinds = {detail.recreation for detail in details}
    if "Always" in kinds:
        return "True"
    return "Conditional" if "Conditionally" in kinds else "False"


def _modify(
    record: StackResource,
    resource: Resource,
    replacement: Literal["True", "False", "Conditional"],
    details: list[PropertyChange],
) -> Change:
    retained = resource.update_replace_policy == "Retain"
    policy = {"True": "ReplaceAndRetain" if retained else "ReplaceAndDelete"}.get(replacement, "")
    return Change(
        action="Modify",
        logical_id=record.logical_id,
        type=record.type,
        physical_id=record.physical_id,
        replacement=replacement,
        policy_action=policy,
        details=details,
    )


def _remove(record: StackResource) -> Change:
    return Change(
        action="Remove",
        logical_id=record.logical_id,
        type=record.type,
        physical_id=record.physical_id,
        policy_action="Delete" if record.deletion_policy == "Delete" else "Retain",
    )
