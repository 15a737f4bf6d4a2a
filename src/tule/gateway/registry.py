"""Which services there are, without importing any: a folder of `tule.services` with a `service.py` is one."""

import asyncio
import importlib
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Final

import structlog

import tule.services
from tule.services.declaration import Environment, Service

_log = structlog.get_logger("tule.services")

PACKAGE: Final = "tule.services"


def discover() -> dict[str, str]:
    """Module of each service's declaration by botocore's name of the service, in alphabetical order."""
    found: dict[str, str] = {}
    for root in tule.services.__path__:
        for folder in sorted(Path(root).iterdir()):
            if (folder / "service.py").is_file():
                found[folder.name.rstrip("_").replace("_", "-")] = f"{PACKAGE}.{folder.name}.service"
    return found


class Services:
    """The declarations that have been imported, and the services that have been started."""

    def __init__(self, modules: dict[str, str], environment: Callable[[], Environment]) -> None:
        self._modules = modules
        self._environment = environment
        self._declared: dict[str, Service] = {}
        self._starting: dict[str, asyncio.Task[None]] = {}
        self.started: dict[str, Environment] = {}
        """What the chain looks up: services that may be called at once."""
        self.on_first_start: Callable[[str], Awaitable[None]] | None = None
        """Told before a service starts, so that the next process knows which services have something to resume."""
        self.on_declared: Callable[[Service], None] | None = None
        self.on_started: Callable[[], None] | None = None
        """Told after a service has started: what it is made of has been loaded."""

    @property
    def names(self) -> list[str]:
        return list(self._modules)

    def __contains__(self, name: str) -> bool:
        return name in self._modules

    def declaration(self, name: str) -> Service | None:
        """The service's declaration, imported now if it has to be; None if there is no such service."""
        service = self._declared.get(name)
        if service is None and name in self._modules:
            service = importlib.import_module(self._modules[name]).SERVICE
            self._declared[name] = service
            if self.on_declared is not None:
                self.on_declared(service)
        return service

    def declared(self) -> list[Service]:
        """The declarations imported so far."""
        return list(self._declared.values())

    def declare_all(self) -> None:
        """Import every declaration, for what only all of them together can tell (edges, coverage)."""
        for name in self._modules:
            try:
                self.declaration(name)
            except Exception:  # noqa: BLE001 - a service that can't be imported must not take the others with it
                _log.exception("service can't be imported", service=name)

    async def start(self, name: str) -> Environment | None:
        """The running service's environment; whoever asks first starts it, the others wait."""
        environment = self.started.get(name)
        if environment is not None:
            return environment
        service = self.declaration(name)
        if service is None:
            return None
        task = self._starting.get(name)
        if task is None:
            task = asyncio.get_running_loop().create_task(self._start(service), name=f"start {name}")
            self._starting[name] = task
            task.add_done_callback(lambda _: self._starting.pop(name, None))
        await asyncio.shield(task)
        return self.started[name]

    async def _start(self, service: Service) -> None:
        environment = self._environment()
        if self.on_first_start is not None:
            await self.on_first_start(service.name)
        if service.start is not None:
            await service.start(environment)
        self.started[service.name] = environment
        if self.on_started is not None:
            self.on_started()

    async def stop(self) -> None:
        """Stop what was started, the latest first; one that fails to stop doesn't keep the others running."""
        for name in reversed(list(self.started)):
            environment = self.started.pop(name)
            service = self._declared[name]
            if service.stop is None:
                continue
            try:
                await service.stop(environment)
            except Exception:  # noqa: BLE001 - the process is ending; the defect is logged with its traceback
                _log.exception("service failed to stop", service=name)
