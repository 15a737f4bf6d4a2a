"""Tule about itself: status, health, metrics, coverage, the root pair, the store's digest, reset."""

from collections.abc import Awaitable, Callable
from typing import NamedTuple

import msgspec

from tule import __version__
from tule.admin.api import answer
from tule.admin.endpoints import Ask, Endpoint
from tule.gateway.registry import Services
from tule.gateway.traffic import BUCKETS_MS, Traffic
from tule.kernel.ports import AccessKey
from tule.kernel.tasks import Supervisor
from tule.net.messages import HttpResponse
from tule.observe.exposition import CONTENT_TYPE, Exposition
from tule.observe.logsink import LogQueue
from tule.observe.spans import SpanRecorder
from tule.services.declaration import Service
from tule.store import Engine


class Status(msgspec.Struct, frozen=True):
    """What runs, where, and how it keeps data. `lines` say the same to people."""

    version: str
    pid: int
    url: str
    functions_url: str
    dir: str
    store: str
    durable: bool
    sandbox: str
    permissions: str
    clock: str
    account: str
    region: str
    started_services: list[str]
    waiting_calls: int
    lines: list[tuple[str, str]]


class Credentials(msgspec.Struct, frozen=True):
    """The root pair of Tule's account."""

    access_key_id: str
    secret_access_key: str
    account: str


class Coverage(msgspec.Struct, frozen=True):
    """One service: what it does, and where it knowingly differs from AWS."""

    service: str
    operations: list[str]
    differences: dict[str, str]
    started: bool


class Digest(msgspec.Struct, frozen=True):
    """A hash over everything that requests wrote."""

    digest: str


class Done(msgspec.Struct, frozen=True):
    """It will happen: the answer is on its way first."""

    done: bool = True


def endpoints(
    status: Callable[[], Status],
    root: AccessKey,
    services: Services,
    digest: Callable[[], Awaitable[str]],
    reset: Callable[[], Awaitable[None]],
) -> list[Endpoint]:
    """GET status, credentials, services, store; POST reset."""

    async def show_status(_: Ask) -> Status:
        return status()

    async def credentials(_: Ask) -> Credentials:
        return Credentials(root.access_key_id, root.secret, root.account)

    async def coverage(_: Ask) -> list[Coverage]:
        services.declare_all()
        return [_coverage(service, started=service.name in services.started) for service in services.declared()]

    async def store(_: Ask) -> Digest:
        return Digest(await digest())

    async def forget(_: Ask) -> Done:
        await reset()
        return Done()

    return [
        Endpoint("GET", "status", "What runs, where, and how it keeps data", show_status, Status),
        Endpoint("GET", "credentials", "The root pair", credentials, Credentials),
        Endpoint("GET", "services", "What is implemented, and where it differs", coverage, list[Coverage]),
        Endpoint("GET", "store", "A digest of everything that requests wrote", store, Digest),
        Endpoint("POST", "reset", "Forget everything", forget, Done),
    ]


def _coverage(service: Service, *, started: bool) -> Coverage:
    return Coverage(service.name, sorted(service.operations), dict(service.coverage), started)


def health(services: Services) -> HttpResponse:
    """Every service by name: available until its first call, then running (the shape of LocalStack's page)."""
    states = {name: "running" if name in services.started else "available" for name in services.names}
    return answer({"services": states, "edition": "tule", "version": __version__})


class Measured(NamedTuple):
    """Where the numbers of the metrics page stand."""

    traffic: Traffic
    spans: SpanRecorder
    logs: LogQueue
    tasks: Supervisor
    store: Engine
    connections: Callable[[], int]


def metrics(measured: Measured) -> HttpResponse:
    """The Prometheus page."""
    traffic, spans, logs, tasks, store, connections = measured
    page = Exposition()
    calls = sorted(traffic.series.items())
    page.histogram(
        "tule_call_duration_seconds",
        "API calls by operation and outcome.",
        [
            (
                (("operation", label), ("status", outcome)),
                [(bound / 1000, count) for bound, count in zip(BUCKETS_MS, series.buckets, strict=False)],
                series.calls,
                series.total_ns / 1e9,
            )
            for (label, outcome), series in calls
        ],
    )
    single = [
        ("tule_requests_refused_total", "Requests of foreign pages and to foreign host names.", traffic.refused),
        ("tule_requests_unrouted_total", "Requests that were no call of a service.", traffic.unrouted),
        ("tule_spans_recorded_total", "Spans kept.", spans.recorded),
        ("tule_spans_shed_total", "Spans that found no room.", spans.shed),
        ("tule_log_events_shed_total", "Function log lines that found no room.", logs.shed_events),
    ]
    for name, text, value in single:
        page.counter(name, text, [((), value)])
    page.counter("tule_task_crashes_total", "Background work that crashed and was started again.",
                 [((("task", name),), count) for name, count in sorted(tasks.crashes.items())])  # fmt: skip
    page.counter("tule_store_refusals_total", "Commits that the store refused.", [((), store.refusals)])
    page.counter("tule_store_throttled_total", "Calls refused because too much waited.", [((), store.pressure.refused)])
    page.gauge("tule_store_waiting_bytes", "What waits to be durable.", [((), store.pressure.waiting_bytes)])
    page.gauge("tule_connections", "Open client connections.", [((), connections())])
    return HttpResponse(200, [("content-type", CONTENT_TYPE)], page.text().encode())
