"""The declaration of CloudFormation. Handlers are imported at its first call."""

from collections.abc import Callable
from typing import Any

from tule.services.cloudformation import engine, state
from tule.services.cloudformation.operations import changesets, reading, stacks, templates
from tule.services.declaration import Coordinate, Coroutine, Operation, Service

_HANDLERS: dict[str, Coroutine] = {
    "CreateChangeSet": changesets.create_change_set,
    "CreateStack": stacks.create_stack,
    "DeleteChangeSet": changesets.delete_change_set,
    "DeleteStack": stacks.delete_stack,
    "DescribeChangeSet": changesets.describe_change_set,
    "DescribeStackEvents": reading.describe_stack_events,
    "DescribeStackResource": reading.describe_stack_resource,
    "DescribeStackResources": reading.describe_stack_resources,
    "DescribeStacks": reading.describe_stacks,
    "ExecuteChangeSet": changesets.execute_change_set,
    "GetTemplate": templates.get_template,
    "GetTemplateSummary": templates.get_template_summary,
    "ListChangeSets": changesets.list_change_sets,
    "ListExports": reading.list_exports,
    "ListImports": reading.list_imports,
    "ListStackResources": reading.list_stack_resources,
    "ListStacks": reading.list_stacks,
    "UpdateStack": stacks.update_stack,
    "UpdateTerminationProtection": stacks.update_termination_protection,
    "ValidateTemplate": templates.validate_template,
}

_OPERATIONS: dict[str, Operation] = {name: Coordinate(handler) for name, handler in _HANDLERS.items()}
_TIMERS: dict[str, Callable[[Any, bytes, bytes], None]] = {state.FORGET: state.forget}

SERVICE = Service(
    name="cloudformation",
    operations=_OPERATIONS,
    receivers={"operation": state.note_operation},
    timers=_TIMERS,
    start=engine.resume,
    coverage={
        "CreateStack": "TimeoutInMinutes, ResourceTypes, stack policies and rollback triggers answer 501 by name.",
        "CreateChangeSet": "Imports answer 501 by name; changes are worked out before the answer, so there is no "
        "CREATE_PENDING.",
        "DescribeChangeSet": "IncludePropertyValues answers 501 by name.",
    },
)
