"""The one error path: whatever a caller did wrong is an `AwsError`, shaped by the wire layer for its protocol."""

from collections.abc import Mapping
from typing import Any, ClassVar


class AwsError(Exception):
    """An error that the caller is told in AWS's own words.

    `code` is the name of the error's shape in the service's model, or the plain code where there is no shape; where
    the model knows the shape, the wire layer takes its HTTP status, query-compatible code and fault from there, so a
    service gives `status` only for errors that the model doesn't have. `members` are the shape's further fields.
    """

    code: ClassVar[str] = "InternalFailure"
    status: ClassVar[int] = 400

    def __init__(
        self,
        message: str = "",
        *,
        code: str | None = None,
        status: int | None = None,
        members: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.error_code = code or type(self).code
        self.error_status = status or type(self).status
        self.members = members or {}


class OperationNotImplementedError(AwsError):
    """What Tule does not do yet says so by name."""

    code = "NotImplemented"
    status = 501

    def __init__(self, service: str, operation: str, detail: str = "") -> None:
        super().__init__(f"Tule does not implement {service}:{operation} yet." + (f" {detail}" if detail else ""))


class InternalFailureError(AwsError):
    """A defect of Tule's, told without its particulars, which stand in Tule's log under the request id."""

    code = "InternalFailure"
    status = 500

    def __init__(self, request_id: str) -> None:
        super().__init__(f"Tule failed on this request. Its log has the particulars under request id {request_id}.")


class ServiceUnavailableError(AwsError):
    """The store can't take writes now (disk full, connection lost); nothing of the request was kept."""

    code = "ServiceUnavailable"
    status = 503
