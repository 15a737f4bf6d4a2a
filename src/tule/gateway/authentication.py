"""Who calls, and whether the signature is theirs.

Keys that Tule minted are verified always. Other keys are names of accounts, unless every signature is to be verified.
"""

from tule.gateway.contexts import Contexts
from tule.kernel.clocks import MachineClock
from tule.kernel.context import RequestContext
from tule.kernel.ports import Credentials
from tule.net.messages import HttpRequest
from tule.wire import Route
from tule.wire.refusals import refusal
from tule.wire.sigv4 import Verifier

CHUNKED_BY = "x-amz-content-sha256"


class Authenticator:
    """The steps identify and authenticate."""

    def __init__(
        self, credentials: Credentials, contexts: Contexts, machine: MachineClock, *, verify_all: bool
    ) -> None:
        self._find = credentials.find
        self._of_request = contexts.of_request
        self._of_caller = contexts.of_caller
        self._wall_ms = machine.wall_ms
        self._admit = Verifier().admit
        self._verify_all = verify_all

    def check(self, request: HttpRequest, where: Route) -> RequestContext:
        """The call's context; the body of an aws-chunked request is opened. Raises `AwsError` as AWS refuses."""
        signature = where.signature
        if signature is None:
            if self._verify_all:
                raise refusal("unsigned", where.service, where.protocol)
            if CHUNKED_BY in request.headers:
                self._admit(request, where, None, 0)
            return self._of_request(request, where.service, where.operation, "", "")
        key_id = signature.access_key_id
        key = self._find(key_id)
        if key is not None:
            self._admit(request, where, key, self._wall_ms())
            caller = (key.account, key.principal)
            return self._of_caller(request, where.service, where.operation, caller, signature.region)
        if self._verify_all:
            raise refusal("unknown key", where.service, where.protocol)
        if CHUNKED_BY in request.headers:
            self._admit(request, where, None, 0)
        return self._of_request(request, where.service, where.operation, key_id, signature.region)
