"""What a service offers to CloudFormation: its resource types."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from tule.services.declaration import Context


@dataclass(frozen=True, slots=True)
class ResourceRequest:
    """One resource of one stack, its properties resolved."""

    stack_name: str
    stack_id: str
    logical_id: str
    properties: Mapping[str, Any]
    tags: Mapping[str, str]
    """The stack's tags and aws:cloudformation:*, to be added to the resource's own."""
    token: str
    """The same for every attempt at the same change, so that a repeated create finds what the first one made."""

    def physical_name(self, limit: int = 64) -> str:
        """The name AWS would generate: stack, logical id and a suffix, cut to `limit` characters."""
        suffix = self.token[:12].upper()
        head = f"{self.stack_name}-{self.logical_id}"
        return f"{head[: limit - 13]}-{suffix}"


@dataclass(frozen=True, slots=True)
class ResourceState:
    """What a template can ask of a resource that exists: Ref gives `physical_id`, Fn::GetAtt `attributes`."""

    physical_id: str
    attributes: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ResourceType:
    """A CloudFormation resource type.

    `properties` are the top-level properties that Tule honours: any other fails the change set by name. A change of
    one in `replace_on` makes a new resource (AWS documents it as Replacement). create, update and delete may be run
    again after a crash and must find what they did the first time.
    """

    name: str
    properties: frozenset[str]
    create: Callable[[Context, ResourceRequest], Awaitable[ResourceState]]
    delete: Callable[[Context, ResourceRequest, str], Awaitable[None]]
    update: Callable[[Context, ResourceRequest, Mapping[str, Any], str], Awaitable[ResourceState]] | None = None
    """(context, new request, old properties, physical id). None: any change replaces."""
    replace_on: frozenset[str] = frozenset()
    required: frozenset[str] = frozenset()
    ignored: frozenset[str] = frozenset()
    """Properties that have no meaning on Tule and are accepted with a note in the stack's events."""
    check: Callable[[Mapping[str, Any]], Sequence[str]] | None = None
    """What is wrong with properties that can be told before anything is made: parts of a property that Tule does not
    honour, values out of range. Pure. A value that depends on a resource to come is the text `UNKNOWN`."""


UNKNOWN = "{{changeSet:KNOWN_AFTER_APPLY}}"
"""What stands for a value that is known only when the resource it comes from has been made (AWS's own words)."""
