"""The front door: admit, route, identify, authenticate, authorize, throttle, fault, parse, run, serialise, record.

Transactions and reads pass without a task or a future: what a request costs here is what every request costs.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import msgspec
import structlog

from tule.gateway.admission import Admission, cors_headers, host_name, is_loopback, preflight
from tule.gateway.authentication import Authenticator
from tule.gateway.contexts import Contexts
from tule.gateway.edges import Edges, Match
from tule.gateway.ongoing import Ongoing
from tule.gateway.operations import Bound, bind, unbound
from tule.gateway.registry import Services
from tule.gateway.traffic import Traffic
from tule.kernel.clocks import MachineClock
from tule.kernel.context import RequestContext
from tule.kernel.errors import AwsError, InternalFailureError, OperationNotImplementedError
from tule.kernel.faults import FaultPoints
from tule.kernel.tasks import Supervisor
from tule.net.messages import HttpRequest, HttpResponse
from tule.services.declaration import Context
from tule.wire import Route, compiled, route, routing_refusal

Reply = Callable[[HttpResponse], None]
Internal = Callable[[HttpRequest, Reply], None]
"""Answers Tule's own endpoints (/_tule/, /_localstack/)."""

MAX_PLAIN_HOSTS: Final = 256
UNROUTED: Final = "unrouted"
"""The name of spans of requests that were for no operation."""

_log = structlog.get_logger("tule.gateway")


@dataclass(frozen=True, slots=True)
class Parts:
    """What the chain is made of."""

    admission: Admission
    authenticator: Authenticator
    contexts: Contexts
    services: Services
    edges: Edges
    traffic: Traffic
    ongoing: Ongoing
    faults: FaultPoints
    machine: MachineClock
    tasks: Supervisor


class Gateway:
    """The application of Tule's listeners."""

    def __init__(self, parts: Parts, internal: Internal) -> None:
        self._parts = parts
        self._internal = internal
        self._admission = parts.admission
        self._contexts = parts.contexts
        self._authenticate = parts.authenticator.check
        self._traffic = parts.traffic
        self._faults = parts.faults
        self._now_ns = parts.machine.monotonic_ns
        self._bound: dict[tuple[str, str], Bound] = {}
        self._plain_hosts: set[str] = set()
        self._edges_complete = False

    def __call__(self, request: HttpRequest, reply: Any) -> None:
        """Answer `request` through `reply`, now or later. Never raises."""
        started_ns = self._now_ns()
        headers = request.headers
        host = headers.get("host", "")
        try:
            aside = host not in self._plain_hosts or request.path.startswith("/_")
            if aside and self._answered_aside(request, host, reply, started_ns):
                return
            if "origin" in headers or "sec-fetch-site" in headers:
                refusal = self._admission.refuse_page(request)
                if refusal is not None:
                    self._traffic.refused += 1
                    reply(refusal)
                    return
                if "origin" in headers:
                    reply = _Readable(headers["origin"], reply)
                    if request.method == "OPTIONS" and "access-control-request-method" in headers:
                        reply(preflight(request))
                        return
            self._answer(request, reply, started_ns)
        except Exception:  # noqa: BLE001 - the connection must get an answer whatever is wrong with us
            request_id = self._contexts.new_request_id()
            _log.exception("request failed", request_id=request_id, method=request.method, path=request.path)
            reply(plain_failure(request_id))

    # -- what is no call of AWS's API

    def _answered_aside(self, request: HttpRequest, host: str, reply: Any, started_ns: int) -> bool:
        """Refuse strangers, answer Tule's own endpoints and applications'; False for everything else."""
        refusal = self._admission.refuse_host(request)
        if refusal is not None:
            self._traffic.refused += 1
            reply(refusal)
            return True
        match = self._edge(request, host)
        if match is not None:
            self._parts.tasks.spawn(f"edge {match.edge.name}", self._answer_edge(match, request, reply, started_ns))
            return True
        if request.path.startswith(("/_tule/", "/_localstack/")) or request.path in ("/_tule", "/_localstack"):
            refusal = self._admission.refuse_page(request)
            if refusal is not None:
                self._traffic.refused += 1
                reply(refusal)
                return True
            self._internal(request, reply)
            return True
        return False

    def _edge(self, request: HttpRequest, host: str) -> Match | None:
        match = self._parts.edges.find(request)
        if match is not None or (self._edges_complete and host in self._plain_hosts):
            return match
        name = host_name(host)
        simple = is_loopback(name) and not name.endswith(".localhost")
        if not self._edges_complete and (not simple or request.path.startswith("/_aws/")):
            self._parts.services.declare_all()
            self._edges_complete = True
            match = self._parts.edges.find(request)
        if match is None and (simple or self._edges_complete):
            if len(self._plain_hosts) >= MAX_PLAIN_HOSTS:
                self._plain_hosts.clear()
            self._plain_hosts.add(host)
        return match

    async def _answer_edge(self, match: Match, request: HttpRequest, reply: Any, started_ns: int) -> None:
        context = self._contexts.of_edge(request, match.service, match.edge.name)
        status = "ok"
        try:
            env = await self._parts.services.start(match.service)
            assert env is not None
            response = await match.edge.handler(Context(context, env), request)
            if response.status >= 500:
                status = str(response.status)
        except Exception:  # noqa: BLE001 - told without its particulars, logged with them
            _log.exception("edge failed", edge=match.edge.name, request_id=context.request_id)
            response, status = plain_failure(context.request_id), "InternalFailure"
        reply(response)
        subject = f"{request.method} {match.path_of(request)}"
        self._traffic.finished(context, match.edge.name, started_ns, self._now_ns(), status, subject)
        if context.usage:
            self._traffic.used_by_read(context)

    # -- calls of AWS's API

    def _answer(self, request: HttpRequest, reply: Any, started_ns: int) -> None:
        try:
            where = route(request)
        except AwsError as error:
            self._traffic.unrouted += 1
            context = self._contexts.of_request(request, UNROUTED, UNROUTED, "", "")
            reply(routing_refusal(request, error, context.request_id))
            subject = f"{request.method} {request.path}"
            self._traffic.finished(context, UNROUTED, started_ns, self._now_ns(), error.error_code, subject)
            return
        bound = self._bound.get((where.service, where.operation))
        if bound is None:
            self._parts.tasks.spawn(f"first call of {where.service}", self._first(request, where, reply, started_ns))
            return
        self._run(request, where, bound, reply, started_ns)

    def _run(self, request: HttpRequest, where: Route, bound: Bound, reply: Any, started_ns: int) -> None:
        call = _Call(self, where, bound, reply, started_ns)
        try:
            call.context = context = self._authenticate(request, where)
            self._faults.hit(bound.label)
            parameters = bound.codec.parse(request, where)
            call.subject = parameters.get(bound.subject)
            cancel = bound.run(context, parameters, call.done)
            if cancel is not None:
                reply.when_gone(cancel)
        except Exception as error:  # noqa: BLE001 - every failure is an answer in the operation's own protocol
            call.fail(request, error)

    async def _first(self, request: HttpRequest, where: Route, reply: Any, started_ns: int) -> None:
        """A service's or an operation's first call: import, start, compile; then as ever."""
        try:
            bound = await self.bound(where.service, where.operation)
        except Exception as error:  # noqa: BLE001 - every failure is an answer in the operation's own protocol
            call = _Call(self, where, unbound(where.service, where.operation), reply, started_ns)
            call.fail(request, error)
            return
        self._run(request, where, bound, reply, started_ns)

    async def bound(self, service: str, operation: str) -> Bound:
        """The operation, its service started. Raises 501 by name for what Tule doesn't have."""
        bound = self._bound.get((service, operation))
        if bound is not None:
            return bound
        env = await self._parts.services.start(service)
        declared = self._parts.services.declaration(service)
        handler = declared.operations.get(operation) if declared is not None else None
        if env is None or handler is None:
            raise OperationNotImplementedError(service, operation)
        bound = bind(service, operation, handler, compiled(service, operation), env, self._parts.ongoing)
        self._bound[service, operation] = bound
        return bound

    def stranger(self, request: HttpRequest, bound: Bound) -> RequestContext:
        """A context for a call whose sender is not known, or was not asked for."""
        return self._contexts.of_request(request, bound.service, bound.name, "", "")

    def finished(self, context: RequestContext, bound: Bound, started_ns: int, status: str, subject: Any) -> None:
        """The chain's last step, for calls from outside and inside; `subject` is what the call was about."""
        self._traffic.finished(context, bound.label, started_ns, self._now_ns(), status, subject)
        if context.usage and (bound.reads or status != "ok"):
            self._traffic.used_by_read(context)


class _Call:
    """One call on its way through the operation to the answer."""

    __slots__ = ("_answered", "_bound", "_gateway", "_reply", "_started_ns", "_where", "context", "subject")

    def __init__(self, gateway: Gateway, where: Route, bound: Bound, reply: Reply, started_ns: int) -> None:
        self._gateway = gateway
        self._where = where
        self._bound = bound
        self._reply = reply
        self._started_ns = started_ns
        self._answered = False
        self.context: RequestContext | None = None
        self.subject: Any = None

    def done(self, result: Any, error: BaseException | None) -> None:
        """Told by the store or a task when the call may be answered."""
        context = self.context
        assert context is not None
        bound = self._bound
        if error is None:
            try:
                response = bound.codec.serialise(result, self._where, context.request_id)
            except Exception as defect:  # noqa: BLE001 - a result that can't be serialised is a defect of the service
                self._refuse(context, defect)
                return
            self._answered = True
            self._reply(response)
            self._gateway.finished(context, bound, self._started_ns, "ok", self.subject)
        else:
            self._refuse(context, error)

    def fail(self, request: HttpRequest, error: Exception) -> None:
        """A call that ended before it reached the operation."""
        self._refuse(self.context or self._gateway.stranger(request, self._bound), error)

    def _refuse(self, context: RequestContext, error: BaseException) -> None:
        told = as_aws_error(error, context)
        if self._answered:
            return  # what failed came after the answer and has been logged
        self._answered = True
        self._reply(self._bound.codec.serialise_error(told, self._where, context.request_id))
        self._gateway.finished(context, self._bound, self._started_ns, told.error_code, self.subject)


def as_aws_error(error: BaseException, context: RequestContext) -> AwsError:
    """What the caller is told of `error`: a refusal as it is, a defect without its particulars."""
    if isinstance(error, AwsError):
        return error
    _log.error(
        "operation failed",
        operation=f"{context.service}:{context.operation}",
        request_id=context.request_id,
        trace=context.trace.root,
        exc_info=error,
    )
    return InternalFailureError(context.request_id)


class _Readable:
    """An exchange whose answers a page may read."""

    __slots__ = ("_origin", "_reply", "when_gone")

    def __init__(self, origin: str, reply: Any) -> None:
        self._origin = origin
        self._reply = reply
        self.when_gone = reply.when_gone

    def __call__(self, response: HttpResponse) -> None:
        response.headers = [*response.headers, *cors_headers(self._origin)]
        self._reply(response)


def plain_failure(request_id: str) -> HttpResponse:
    """500 where no protocol is known to say it in."""
    body = msgspec.json.encode({"__type": "InternalFailure", "message": InternalFailureError(request_id).message})
    return HttpResponse(500, [("content-type", "application/json"), ("x-amzn-requestid", request_id)], body)
