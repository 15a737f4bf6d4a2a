"""Errors of Application Auto Scaling, in AWS's words."""

from typing import Any

from tule.kernel.errors import AwsError, OperationNotImplementedError
from tule.services.application_autoscaling.models import DIMENSION, NAMESPACE


class ValidationError(AwsError):
    code = "ValidationException"


class ObjectNotFoundError(AwsError):
    """Nothing of that kind for a resource."""

    code = "ObjectNotFoundException"

    def __init__(self, kind: str, resource: str, name: str = "") -> None:
        super().__init__(
            f"No {kind} found for service namespace: {NAMESPACE}, resource ID: {resource}, scalable dimension: "
            f"{DIMENSION}{f': {name}' if name else ''}"
        )


class TargetNotFoundError(AwsError):
    code = "ObjectNotFoundException"

    def __init__(self, resource: str) -> None:
        super().__init__(
            f"No scalable target registered for service namespace: {NAMESPACE}, resource ID: {resource}, "
            f"scalable dimension: {DIMENSION}"
        )


def check_target(operation: str, request: dict[str, Any]) -> None:
    """Refuse what Tule has nothing to scale for: all namespaces but lambda, by name."""
    namespace = request["ServiceNamespace"]
    if namespace != NAMESPACE:
        raise OperationNotImplementedError(
            "application-autoscaling", operation, f"ServiceNamespace is {namespace}: only lambda is scaled."
        )
    dimension, resource = request.get("ScalableDimension") or DIMENSION, request.get("ResourceId")
    if dimension != DIMENSION or (resource is not None and not is_function(resource)):
        raise ValidationError("Unsupported service namespace, resource type or scalable dimension")


def is_function(resource: str) -> bool:
    """Whether it is function:NAME:QUALIFIER."""
    parts = resource.split(":")
    return len(parts) == 3 and parts[0] == "function" and bool(parts[1]) and bool(parts[2])
