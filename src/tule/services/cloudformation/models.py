"""What CloudFormation keeps: stacks, their resources, events and change sets. Times are service time in ms."""

from typing import Any, Literal

from msgspec import Struct

Phase = Literal["apply", "roll_back", "clean_up", "tear_down"]


class Caller(Struct, frozen=True, kw_only=True):
    """In whose name the engine calls other services, and where answers' URLs point."""

    kind: Literal["root", "user", "role", "service"]
    arn: str
    user_id: str
    access_key_id: str
    base_url: str
    trace: str


class Definition(Struct, frozen=True, kw_only=True):
    """What a stack is to be: one template with its parameters and settings."""

    revision: int
    """Names the rows that hold the template's text."""
    parameters: dict[str, str] = {}
    hidden: list[str] = []
    """Names of the NoEcho parameters."""
    tags: dict[str, str] = {}
    capabilities: list[str] = []
    description: str = ""
    role_arn: str = ""
    notification_arns: list[str] = []


class TemplateText(Struct, frozen=True, kw_only=True):
    """A template as it was given, and as the transform left it ("" where there was none)."""

    original: str
    processed: str = ""


class OutputValue(Struct, frozen=True, kw_only=True):
    """One output of a stack."""

    name: str
    value: str
    description: str = ""
    export_name: str = ""


class Operation(Struct, frozen=True, kw_only=True):
    """What is being done to a stack, so that it can be gone on with after a crash."""

    id: str
    kind: Literal["CREATE", "UPDATE", "DELETE"]
    phase: Phase
    caller: Caller
    token: str = ""
    """The client's request token."""
    previous: Definition | None = None
    """What the stack was before an update."""
    on_failure: Literal["ROLLBACK", "DELETE", "DO_NOTHING"] = "ROLLBACK"
    retain: list[str] = []
    """Resources that DeleteStack leaves alone."""
    retain_except_on_create: bool = False
    failed: list[str] = []
    """Logical ids of the resources that failed."""
    reason: str = ""
    rolled_back: bool = False
    """The cleaning up follows a rollback."""
    change_set: str = ""
    """Name of the change set that is executed."""


class Stack(Struct, frozen=True, kw_only=True):
    """A stack, present or deleted."""

    name: str
    uuid: str
    arn: str
    status: str
    created_ms: int
    definition: Definition
    reason: str = ""
    updated_ms: int = 0
    deleted_ms: int = 0
    outputs: list[OutputValue] = []
    disable_rollback: bool = False
    protected: bool = False
    """Termination protection."""
    change_set_arn: str = ""
    operation: Operation | None = None
    tokens: dict[str, str] = {}
    """Client request tokens of the latest operations: token to kind."""


class Before(Struct, frozen=True, kw_only=True):
    """A resource as it was before the running update."""

    physical_id: str
    properties: dict[str, Any]
    attributes: dict[str, Any]
    metadata: Any = None
    deletion_policy: str = "Delete"
    update_replace_policy: str = "Delete"
    needs: list[str] = []
    token: str = ""


class StackResource(Struct, frozen=True, kw_only=True):
    """A resource of a stack. `properties` are the values last applied."""

    logical_id: str
    type: str
    status: str
    updated_ms: int
    operation: str
    """The operation that last decided about it."""
    physical_id: str = ""
    reason: str = ""
    properties: dict[str, Any] = {}
    attributes: dict[str, Any] = {}
    metadata: Any = None
    deletion_policy: str = "Delete"
    update_replace_policy: str = "Delete"
    needs: list[str] = []
    """Logical ids that it needs; what is deleted goes in the reverse order."""
    token: str = ""
    change: Literal["", "add", "update", "replace", "keep"] = ""
    """What the running operation does to it."""
    attempted: dict[str, Any] = {}
    """The values that the running change tries to apply."""
    before: Before | None = None


class Leftover(Struct, frozen=True, kw_only=True):
    """A physical resource that is to be deleted when the update has gone well (or has been rolled back)."""

    logical_id: str
    type: str
    physical_id: str
    properties: dict[str, Any]
    needs: list[str]
    token: str


class Event(Struct, frozen=True, kw_only=True):
    """One line of a stack's history."""

    id: str
    at_ms: int
    logical_id: str
    physical_id: str
    type: str
    status: str
    reason: str = ""
    properties: str = ""
    token: str = ""


class PropertyChange(Struct, frozen=True, kw_only=True):
    """Why and how one property (or other part) of a resource changes."""

    attribute: str
    name: str = ""
    recreation: Literal["Never", "Conditionally", "Always"] = "Never"
    evaluation: Literal["Static", "Dynamic"] = "Static"
    source: str = "DirectModification"
    cause: str = ""


class Change(Struct, frozen=True, kw_only=True):
    """What a change set would do to one resource."""

    action: Literal["Add", "Modify", "Remove"]
    logical_id: str
    type: str
    physical_id: str = ""
    replacement: Literal["", "True", "False", "Conditional"] = ""
    policy_action: str = ""
    details: list[PropertyChange] = []


class ChangeSet(Struct, frozen=True, kw_only=True):
    """A change that has been worked out and not (yet) executed."""

    name: str
    arn: str
    kind: Literal["CREATE", "UPDATE"]
    status: str
    execution_status: str
    created_ms: int
    definition: Definition
    reason: str = ""
    description: str = ""
    changes: list[Change] = []
    on_failure: Literal["ROLLBACK", "DELETE", "DO_NOTHING"] = "ROLLBACK"
    on_failure_asked: str = ""
    token: str = ""
