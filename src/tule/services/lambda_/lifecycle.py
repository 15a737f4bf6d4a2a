"""State and LastUpdateStatus: what is on its way, and what it forbids meanwhile."""

from tule.services.lambda_.models import Function, Status
from tule.services.lambda_.names import PENDING, ResourceConflictError

CREATING = Status("Pending", "The function is being created.", "Creating", "")
UPDATING = Status(update="InProgress", update_reason="The function is being created.", update_reason_code="Creating")


def require_settled(function: Function) -> None:
    """Refuse a change while a function is being created or updated."""
    if function.status.state == "Pending":
        raise ResourceConflictError(PENDING)
    if function.status.update == "InProgress":
        raise ResourceConflictError(
            f"The operation cannot be performed at this time. An update is in progress for resource: {function.arn}"
        )
