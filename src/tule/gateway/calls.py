"""Calls that services make of each other: the same chain as from outside, without sockets."""

import asyncio
from collections.abc import Awaitable, Callable
from functools import cache
from typing import Any

import msgspec

from tule.gateway.chain import Gateway, as_aws_error
from tule.gateway.contexts import Contexts
from tule.gateway.registry import Services
from tule.kernel.clocks import MachineClock
from tule.kernel.context import RequestContext
from tule.kernel.errors import OperationNotImplementedError
from tule.kernel.faults import FaultPoints
from tule.wire import RawJson
from tule.wire.models import load


class InnerCalls:
    """The `Dispatcher` port."""

    def __init__(
        self, gateway: Gateway, contexts: Contexts, services: Services, faults: FaultPoints, machine: MachineClock
    ) -> None:
        self._gateway = gateway
        self._contexts = contexts
        self._services = services
        self._faults = faults
        self._machine = machine

    async def call(
        self, context: RequestContext, service: str, operation: str, parameters: dict[str, Any]
    ) -> dict[str, Any]:
        """Run an operation (model name) in the name of `context`. Raises `AwsError` as the operation does."""
        if service not in self._services:
            raise OperationNotImplementedError(service, operation)
        started_ns = self._machine.monotonic_ns()
        bound = await self._gateway.bound(service, operation)
        inner = self._contexts.inner(context, service, operation)
        told: asyncio.Future[Any] = asyncio.get_running_loop().create_future()

        def done(result: Any, error: BaseException | None) -> None:
            if told.cancelled():
                return
            if error is None:
                told.set_result(result)
            else:
                told.set_exception(as_aws_error(error, inner))

        status = "ok"
        try:
            self._faults.hit(bound.label)
            bound.codec.validate(parameters)
            cancel = bound.run(inner, parameters, done)
            try:
                result = await told
            except asyncio.CancelledError:
                if cancel is not None:
                    cancel()
                raise
        except Exception as error:
            refusal = as_aws_error(error, inner)
            status = refusal.error_code
            raise refusal from error
        finally:
            self._gateway.finished(inner, bound, started_ns, status, parameters.get(bound.subject))
        return opened(result)

    def aws_for(self, context: RequestContext) -> "AwsCalls":
        """All services, called in the name of `context`."""
        return AwsCalls(self, context)


def opened(result: Any) -> dict[str, Any]:
    """A handler's result as a caller inside may read it: what was serialised ahead for the wire is values again."""
    if result is None:
        return {}
    if isinstance(result, RawJson):
        decoded: dict[str, Any] = msgspec.json.decode(result)
        return decoded
    return {key: _opened(value) for key, value in result.items()}


def _opened(value: Any) -> Any:
    if isinstance(value, RawJson):
        return msgspec.json.decode(value)
    if isinstance(value, list):
        return [_opened(item) for item in value]
    if isinstance(value, dict):
        return {key: _opened(item) for key, item in value.items()}
    return value


class AwsCalls:
    """`ctx.aws`: services by botocore's name."""

    __slots__ = ("_calls", "_context")

    def __init__(self, calls: InnerCalls, context: RequestContext) -> None:
        self._calls = calls
        self._context = context

    def __getattr__(self, service: str) -> "ServiceCalls":
        return ServiceCalls(self._calls, self._context, service.rstrip("_").replace("_", "-"))


class ServiceCalls:
    """`ctx.aws.sqs`: operations by boto3's name."""

    __slots__ = ("_calls", "_context", "_service")

    def __init__(self, calls: InnerCalls, context: RequestContext, service: str) -> None:
        self._calls = calls
        self._context = context
        self._service = service

    def __getattr__(self, name: str) -> Callable[..., Awaitable[dict[str, Any]]]:
        operation = operation_names(self._service).get(name)
        if operation is None:
            raise AttributeError(f"{self._service} has no operation {name}.")

        def call(**parameters: Any) -> Awaitable[dict[str, Any]]:
            return self._calls.call(self._context, self._service, operation, parameters)

        return call


@cache
def operation_names(service: str) -> dict[str, str]:
    """Names of the model's operations by boto3's names for them."""
    from botocore import xform_name

    return {xform_name(name): name for name in load(service).operations}
