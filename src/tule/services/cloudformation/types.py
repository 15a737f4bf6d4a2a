"""Resource types: which service offers which, and whether a template asks for what none offers."""

import importlib
from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import Any

import tule.services
from tule.languages.cloudformation.template import Resource, Template
from tule.services.cloudformation.errors import ValidationError
from tule.services.resources import ResourceType


@cache
def _types_of(folder: str) -> Mapping[str, ResourceType]:
    """The types of one service's folder; none if it has none."""
    root = Path(next(iter(tule.services.__path__)))
    if not (root / folder / "cfn.py").is_file():
        return MappingProxyType({})
    service = importlib.import_module(f"tule.services.{folder}.service").SERVICE
    if not service.resources:
        return MappingProxyType({})
    found: Mapping[str, ResourceType] = importlib.import_module(service.resources).RESOURCES
    return found


@cache
def _folders() -> Mapping[str, str]:
    """Folders of services by their name without underscores."""
    root = Path(next(iter(tule.services.__path__)))
    folders = {entry.name.replace("_", ""): entry.name for entry in root.iterdir() if entry.is_dir()}
    return MappingProxyType(folders)


def find(name: str) -> ResourceType | None:
    """The type of this name, or None if no service of Tule offers it."""
    parts = name.split("::")
    if len(parts) != 3 or parts[0] != "AWS":
        return None
    folder = _folders().get(parts[1].lower())
    return None if folder is None else _types_of(folder).get(name)


def get(name: str) -> ResourceType:
    """The type of this name, which has been checked to exist."""
    found = find(name)
    if found is None:
        raise ValidationError(f"Template format error: Unrecognized resource types: [{name}]")
    return found


def check_types(template: Template, present: Iterable[str]) -> None:
    """Refuse, by logical id, types and properties that no service of Tule honours."""
    resources = [template.resources[logical_id] for logical_id in present]
    missing = [resource for resource in resources if find(resource.type) is None]
    if missing:
        names = ", ".join(dict.fromkeys(resource.type for resource in missing))
        listed = ", ".join(
            f"{resource.logical_id} ({resource.type}){_where(template, resource, 'Type')}" for resource in missing
        )
        raise ValidationError(
            f"Template format error: Unrecognized resource types: [{names}]. Tule does not offer these types, and made "
            f"nothing: {listed}"
        )
    complaints = [complaint for resource in resources for complaint in _complaints(template, resource)]
    if complaints:
        raise ValidationError(f"{'; '.join(complaints)}. Nothing was made.")


def _where(template: Template, resource: Resource, *rest: str) -> str:
    return template.document.where("Resources", resource.logical_id, *rest)


def _complaints(template: Template, resource: Resource) -> list[str]:
    type_ = get(resource.type)
    found = []
    for name in resource.properties:
        if name not in type_.properties and name not in type_.ignored:
            where = _where(template, resource, "Properties", name)
            found.append(
                f"Properties validation failed for resource {resource.logical_id} ({resource.type}): Tule does not "
                f"honour property {name} yet{where}"
            )
    missing = sorted(name for name in type_.required if name not in resource.properties)
    start = f"Properties validation failed for resource {resource.logical_id} ({resource.type})"
    found += [
        f"{start} with message: #: required key [{name}] not found{_where(template, resource)}" for name in missing
    ]
    return found


def check_values(template: Template, resource: Resource, properties: Mapping[str, Any]) -> None:
    """Refuse values that the resource's service says it can't take."""
    type_ = get(resource.type)
    complaints = list(type_.check(properties)) if type_.check else []
    if complaints:
        raise ValidationError(
            f"Properties validation failed for resource {resource.logical_id} ({resource.type}): "
            f"{'; '.join(complaints)}{_where(template, resource)}. Nothing was made."
        )
