"""Who calls, from where, in which trace: the contexts that every layer above the wire works with."""

import re
from typing import Final

from tule.kernel.arns import partition_of
from tule.kernel.clocks import MachineClock
from tule.kernel.context import (
    DEFAULT_ACCOUNT,
    Principal,
    RequestContext,
    TraceContext,
    root_principal,
    trace_from_header,
)
from tule.kernel.errors import AwsError
from tule.kernel.ports import Credentials
from tule.kernel.randomness import RandomSource
from tule.net.messages import HttpRequest

MAX_REMEMBERED: Final = 4096
"""Principals of keys nobody minted, and regions, that are kept (ours)."""

TRACE_HEADER: Final = "x-amzn-trace-id"

_ACCOUNT: Final = re.compile(r"\d{12}\Z")
_REGION: Final = re.compile(r"[a-z]{2,3}(?:-[a-z]+)+-\d{1,2}\Z")

_VARIANTS: Final = {digit: "89ab"[int(digit, 16) & 3] for digit in "0123456789abcdef"}
"""The digit of a version 4 UUID that has two bits of its own (RFC 9562, 4.1)."""

INTERNAL_USER: Final = "tule"


class Contexts:
    """Makes contexts. `public_url` is where work that no request causes says Tule is."""

    def __init__(
        self, machine: MachineClock, random: RandomSource, credentials: Credentials, region: str, public_url: str
    ) -> None:
        self._machine = machine
        self._monotonic_s = machine.monotonic_s
        self._random = random
        self._credentials = credentials
        self._region = region
        self.public_url = public_url
        self._principals: dict[str, tuple[str, Principal]] = {}
        self._partitions: dict[str, str] = {}
        self._second = -1
        self._second_text = ""

    def identify(self, access_key_id: str) -> tuple[str, Principal]:
        """Account and principal of a key: a minted one has its own, twelve digits are an account, else the default."""
        key = self._credentials.find(access_key_id)
        if key is not None:
            return key.account, key.principal
        found = self._principals.get(access_key_id)
        if found is None:
            account = access_key_id if _ACCOUNT.match(access_key_id) else DEFAULT_ACCOUNT
            found = account, root_principal(account, access_key_id)
            if len(self._principals) >= MAX_REMEMBERED:
                self._principals.clear()
            self._principals[access_key_id] = found
        return found

    def region(self, scope: str) -> str:
        """The region of a credential scope; Tule's own where a request has none."""
        if scope in self._partitions:
            return scope
        if not scope:
            return self._region
        if not _REGION.match(scope):
            raise AwsError(
                "Credential should be scoped to a valid region.", code="InvalidSignatureException", status=400
            )
        if len(self._partitions) >= MAX_REMEMBERED:
            self._partitions.clear()
        self._partitions[scope] = partition_of(scope)
        return scope

    def trace(self, header: str | None) -> TraceContext:
        """The hop that a request starts, in its caller's trace or in one of its own."""
        if header:
            return trace_from_header(header, self._random, self._machine.wall_ms() // 1000)
        return self.new_trace()

    def of_request(
        self, request: HttpRequest, service: str, operation: str, access_key_id: str, scope_region: str
    ) -> RequestContext:
        """The context of a call from outside."""
        return self.of_caller(request, service, operation, self.identify(access_key_id), scope_region)

    def of_caller(
        self, request: HttpRequest, service: str, operation: str, caller: tuple[str, Principal], scope_region: str
    ) -> RequestContext:
        """The same for a caller, account and principal, who is known already."""
        region = scope_region if scope_region in self._partitions else self.region(scope_region)
        headers = request.headers
        header = headers.get(TRACE_HEADER)
        digits = self._random.token_hex(36)  # for all names of the call at once
        return RequestContext(
            f"{digits[:8]}-{digits[8:12]}-4{digits[13:16]}-{_VARIANTS[digits[16]]}{digits[17:20]}-{digits[20:32]}",
            service,
            operation,
            caller[0],
            region,
            caller[1],
            self._trace(digits[32:56], digits[56:]) if header is None else self.trace(header),
            f"{request.scheme}://{headers.get('host', '')}",
            self._partitions.get(region) or partition_of(region),
            None,
            request.peer,
            headers.get("user-agent", ""),
            {},
        )

    def new_trace(self) -> TraceContext:
        """A trace that begins here."""
        digits = self._random.token_hex(20)
        return self._trace(digits[:24], digits[24:])

    def _trace(self, root: str, span: str) -> TraceContext:
        # The second's part of its name is made once a second.
        second = int(self._monotonic_s())
        if second != self._second:
            self._second = second
            self._second_text = f"1-{self._machine.wall_ms() // 1000:08x}-"
        return TraceContext(self._second_text + root, span)

    def new_request_id(self) -> str:
        return self._random.uuid()

    def of_edge(self, request: HttpRequest, service: str, edge: str) -> RequestContext:
        """The context of a request to an application's own endpoint: whose it is, the service has to find out."""
        return self.of_request(request, service, edge, "", "")

    def background(self, account: str, region: str) -> RequestContext:
        """A context for work that no request causes."""
        principal = Principal("service", f"arn:aws:iam::{account}:{INTERNAL_USER}", INTERNAL_USER, known=True)
        return RequestContext(
            self._random.uuid(), "tule", "background", account, region, principal, self.trace(None), self.public_url,
            partition_of(region), None, "127.0.0.1", INTERNAL_USER, {},
        )  # fmt: skip

    def inner(self, caller: RequestContext, service: str, operation: str) -> RequestContext:
        """The context of a call that a service makes in the name of `caller`."""
        return RequestContext(
            self._random.uuid(), service, operation, caller.account, caller.region, caller.principal,
            caller.trace.child(self._random), caller.base_url, caller.partition, caller.deadline_s, caller.source_ip,
            caller.user_agent, {},
        )  # fmt: skip
