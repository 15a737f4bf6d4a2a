"""The seam to the function runtime."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tule.kernel.errors import AwsError
from tule.services.declaration import Environment
from tule.services.lambda_.models import Function
from tule.services.lambda_.roles import RoleSessions

if TYPE_CHECKING:
    from tule.services.lambda_.execution import Invocation, Resolved


@dataclass(frozen=True, slots=True)
class Outcome:
    """How an invocation ended."""

    payload: bytes
    error: str
    """"" or what X-Amz-Function-Error says."""
    log: bytes
    billed_ms: int


class Engine:
    def __init__(self, env: Environment, roles: RoleSessions) -> None:
        self._env = env
        self._roles = roles

    def version(self, function: Function) -> Any:
        return function

    async def prepare(self, _version: Any) -> str:
        return ""

    def retire(self, _version: Any) -> None: ...

    async def invoke(self, _resolved: "Resolved", _invocation: "Invocation", *, tail: bool) -> Outcome:
        del tail
        raise AwsError("There is no function runtime.", code="ServiceException", status=500)
