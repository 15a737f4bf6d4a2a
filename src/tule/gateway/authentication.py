"""Who calls, and whether the signature is theirs.

Keys that Tule minted are verified always. Other keys are names of accounts, unless every signature is to be verified.
"""

from tule.gateway.contexts import Contexts
from tule.kernel.clocks import MachineClock
from tule.kernel.context import RequestContext
from tule.kernel.ports import Credentials
from tule.net.messages import HttpRequest
from tule.wire import Route


class Authenticator:
    """The steps identify and authenticate."""

    def __init__(
        self, credentials: Credentials, contexts: Contexts, machine: MachineClock, *, verify_all: bool
    ) -> None:
        self._credentials = credentials
        self._contexts = contexts
        self._machine = machine
        self._verify_all = verify_all

    def check(self, request: HttpRequest, where: Route) -> RequestContext:
        """The call's context. Raises `AwsError` as AWS refuses a signature."""
        signature = where.signature
        if signature is None:
            return self._contexts.of_request(request, where.service, where.operation, "", "")
        return self._contexts.of_request(
            request, where.service, where.operation, signature.access_key_id, signature.region
        )
