"""Stacks, resources and events in the shapes of the model."""

from collections.abc import Mapping
from typing import Any

import msgspec

from tule.services.cloudformation.models import Event, Stack, StackResource

_NOT_CHECKED = {"StackDriftStatus": "NOT_CHECKED"}


def tags_view(tags: Mapping[str, str]) -> list[dict[str, str]]:
    return [{"Key": key, "Value": value} for key, value in tags.items()]


def _present(view: dict[str, Any]) -> dict[str, Any]:
    return {member: value for member, value in view.items() if value not in ("", None)}


def _seconds(at_ms: int) -> float | None:
    return at_ms / 1000 if at_ms else None


def stack_view(stack: Stack) -> dict[str, Any]:
    """As DescribeStacks gives it."""
    definition = stack.definition
    return _present(
        {
            "StackId": stack.arn,
            "StackName": stack.name,
            "ChangeSetId": stack.change_set_arn,
            "Description": definition.description,
            "Parameters": [
                {"ParameterKey": key, "ParameterValue": "****" if key in definition.hidden else value}
                for key, value in definition.parameters.items()
            ],
            "CreationTime": stack.created_ms / 1000,
            "LastUpdatedTime": _seconds(stack.updated_ms),
            "DeletionTime": _seconds(stack.deleted_ms),
            "RollbackConfiguration": {},
            "StackStatus": stack.status,
            "StackStatusReason": stack.reason,
            "DisableRollback": stack.disable_rollback,
            "NotificationARNs": definition.notification_arns,
            "Capabilities": definition.capabilities,
            "Outputs": [
                _present(
                    {
                        "OutputKey": output.name,
                        "OutputValue": output.value,
                        "Description": output.description,
                        "ExportName": output.export_name,
                    }
                )
                for output in stack.outputs
            ],
            "RoleARN": definition.role_arn,
            "Tags": tags_view(definition.tags),
            "EnableTerminationProtection": stack.protected,
            "DriftInformation": _NOT_CHECKED,
        }
    )


def summary_view(stack: Stack) -> dict[str, Any]:
    """As ListStacks gives it."""
    return _present(
        {
            "StackId": stack.arn,
            "StackName": stack.name,
            "TemplateDescription": stack.definition.description,
            "CreationTime": stack.created_ms / 1000,
            "LastUpdatedTime": _seconds(stack.updated_ms),
            "DeletionTime": _seconds(stack.deleted_ms),
            "StackStatus": stack.status,
            "StackStatusReason": stack.reason,
            "DriftInformation": _NOT_CHECKED,
        }
    )


def event_view(stack: Stack, event: Event) -> dict[str, Any]:
    return _present(
        {
            "StackId": stack.arn,
            "EventId": event.id,
            "StackName": stack.name,
            "LogicalResourceId": event.logical_id,
            "PhysicalResourceId": event.physical_id,
            "ResourceType": event.type,
            "Timestamp": event.at_ms / 1000,
            "ResourceStatus": event.status,
            "ResourceStatusReason": event.reason,
            "ResourceProperties": event.properties,
            "ClientRequestToken": event.token,
        }
    )


def resource_view(record: StackResource, stack: Stack, time_member: str) -> dict[str, Any]:
    """As the operations that describe resources give it; `time_member` is their name for the time."""
    view = {
        "LogicalResourceId": record.logical_id,
        "PhysicalResourceId": record.physical_id,
        "ResourceType": record.type,
        time_member: record.updated_ms / 1000,
        "ResourceStatus": record.status,
        "ResourceStatusReason": record.reason,
        "DriftInformation": {"StackResourceDriftStatus": "NOT_CHECKED"},
    }
    if time_member == "Timestamp":
        view |= {"StackName": stack.name, "StackId": stack.arn}
    return _present(view)


def detail_view(record: StackResource, stack: Stack) -> dict[str, Any]:
    """As DescribeStackResource gives it."""
    view = resource_view(record, stack, "LastUpdatedTimestamp") | {"StackName": stack.name, "StackId": stack.arn}
    if record.metadata is not None:
        view["Metadata"] = msgspec.json.encode(record.metadata).decode()
    return view
