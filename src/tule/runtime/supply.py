"""Where execution environments come from: the runner, a zygote per interpreter, and parked instances that wait."""

import asyncio
import os
import signal
from collections import deque
from collections.abc import Callable, Coroutine, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import structlog

from tule.kernel.clocks import MachineClock
from tule.kernel.randomness import RandomSource
from tule.kernel.tasks import Supervisor
from tule.runtime import debugger_packages, groups, rungs, sdk
from tule.runtime.cloud_names import CloudNames, Shown, without_extra
from tule.runtime.contract import FunctionVersion, RuntimeUnavailableError
from tule.runtime.environment import acts_at_start
from tule.runtime.execution_environment import Instance, InstanceGoneError
from tule.runtime.hosts import Interpreter
from tule.runtime.programs import (
    BOOTSTRAP,
    NODE_FOLDER,
    NODE_IN_TREE,
    NODE_PROGRAM,
    is_program,
    managed,
    managed_command,
    program_of,
    shown_of,
)
from tule.runtime.reach import Sandbox
from tule.runtime.resting import REST_AFTER_S, Resting
from tule.runtime.runner_link import RunnerLink
from tule.runtime.supervised import Program, SupervisedInstance, Surroundings

TIDY_ATTEMPTS: Final = 50
TIDY_EVERY_S: Final = 0.1

REFILL_AFTER_S: Final = 0.05
"""Parked instances are replaced a moment after one was taken, so that the fork doesn't delay whoever took it (ours)."""

LOADED: Final = "+loaded"
DEBUGGED: Final = "+debug"
"""Ends the name of a zygote whose tree shows the debugger for functions that bring none."""
"""Ends the name of a zygote whose Node processes wait with the SDK loaded."""

COMPILED: Final = "/var/compiled"
"""Where an instance finds the code that V8 has compiled for its function: an empty folder unless it gets one."""

_log = structlog.get_logger("tule.runtime")


@dataclass(frozen=True, slots=True)
class Settings:
    """Where the runtime lives and how much it keeps ready."""

    packages: Path
    scratch: Path
    cache: Path
    parked: int = 2
    bare: bool = False
    """Don't use namespaces even where they could be had."""
    rest_after_s: float = REST_AFTER_S
    endpoint_url: str = ""
    sandbox: Sandbox = field(default_factory=Sandbox)


class Supply:
    """Makes instances. All are known here by name until they have ended."""

    def __init__(
        self,
        settings: Settings,
        machine: MachineClock,
        random: RandomSource,
        own: Interpreter,
        names: CloudNames | None = None,
    ) -> None:
        self._settings = settings
        self._around = Surroundings(machine, random, Supervisor(machine), self._write_log)
        self._names = names
        self._names_shown = Shown()
        self._machine = machine
        self._own = own
        self._link: RunnerLink | None = None
        self._hello: dict[str, Any] = {}
        self._lost = False  # whether the last zygote that ended was killed
        self._resting = Resting(machine, settings.rest_after_s, self._in_use, self._rest)
        self._starting = asyncio.Lock()
        self._zygotes: dict[str, asyncio.Future[None]] = {}
        self._parked: dict[str, deque[Instance]] = {}
        self._filling: dict[str, asyncio.Lock] = {}
        self._interpreters: dict[str, Interpreter] = {}
        self._debugger = ""
        self._count = 0
        self._refills: set[asyncio.Task[None]] = set()
        self.instances: dict[str, Instance] = {}
        self.on_lost: Callable[[Instance], None] = lambda _: None
        self.write_log: Callable[[FunctionVersion, str, list[str]], None] = lambda *_: None
        """Takes what extensions print between two requests."""
        self.memory_kb: dict[str, int] = {}
        self.crashes = 0
        self.closing = False

    # -- runner and zygotes

    @property
    def hello(self) -> dict[str, Any]:
        """What the runner found on this machine; empty before the first function."""
        return self._hello

    @property
    def runner_pid(self) -> int:
        return self._link.pid if self._link else 0

    @property
    def tree(self) -> bool:
        return bool(self.hello.get("tree"))

    @property
    def trust(self) -> dict[str, str]:
        """Variables by which programs trust Tule under AWS's names."""
        return self._names_shown.variables if self.tree else {}

    @property
    def sdk_folder(self) -> str:
        """Where functions find boto3 if they bring none."""
        return sdk.IN_TREE if self.tree else sdk.bare_folder(self._settings.scratch)

    async def runner(self) -> RunnerLink:
        """The runner, started if there is none."""
        if self._link is not None:
            return self._link
        async with self._starting:
            if self.closing:
                raise RuntimeUnavailableError("Tule is stopping.")
            if self._link is None:
                settings = self._settings
                if self._names is not None and not settings.bare:
                    self._names_shown = await self._names.shown()
                link = RunnerLink(self._runner_settings(), self._hear, lambda: self._runner_lost(link))
                try:
                    await link.start()
                    rungs.require(rungs.rung_of(link.hello), settings.sandbox.least_rung)
                except rungs.TooLowError as error:
                    await link.stop()
                    raise RuntimeUnavailableError(str(error)) from error
                except (OSError, TimeoutError) as error:
                    await link.stop()
                    raise RuntimeUnavailableError(f"The process that runs functions did not start: {error}") from error
                self._link, self._hello = link, link.hello
        assert self._link is not None
        return self._link

    def _runner_settings(self) -> dict[str, Any]:
        settings = self._settings
        names = self._names.addresses if self._names is not None and not settings.bare else []
        reach = settings.sandbox.reach
        return {
            "packages": str(settings.packages), "scratch": str(settings.scratch), "bare": settings.bare,
            "reach": reach.addresses(settings.endpoint_url, names),
            "public_port": reach.public_port, "functions_port": urlsplit(settings.endpoint_url).port or 0,
        }  # fmt: skip

    async def _tidy(self) -> None:
        """Remove the groups of a runner that could not do it itself, once the kernel has ended who was in them."""
        for _ in range(TIDY_ATTEMPTS):
            if not await asyncio.to_thread(groups.sweep):
                return
            await self._machine.sleep(TIDY_EVERY_S)

    def _runner_lost(self, link: RunnerLink) -> None:
        if not self.closing:
            self._spawn(self._tidy())
        if self._link is link:
            self._link = None
            self.crashes += 1
        for ready in self._zygotes.values():
            if not ready.done():
                ready.set_exception(RuntimeUnavailableError("The process that runs functions ended."))
                ready.exception()
        self._zygotes.clear()
        self._parked.clear()
        self._resting.clear()
        for instance in self.instances.values():
            instance.orphaned = True
            if not instance.exit_code.done():
                instance.exit_code.set_result(-signal.SIGKILL)  # nobody is left to say more: whoever waits need not

    async def stop(self) -> None:
        """End everything."""
        self.closing = True
        self._resting.clear()
        async with self._starting:  # one that is starting is one to end, too
            link, self._link = self._link, None
        if link is not None:
            await link.stop()
        for instance in list(self.instances.values()):
            instance.close()

    def zygote_for(self, interpreter: Interpreter, package_sdk: str, debugger: str = "") -> str:
        """The name of the zygote whose forks suit a package, and see the folder of the debugger if there is one."""
        if interpreter.kind == "python":
            wants = package_sdk == "wanted"
        elif interpreter.kind != "node":
            wants = False
        else:  # a zygote's tree is as it was made: one from before the modules came doesn't show them
            wants = bool(sdk.node_modules(self._settings.cache))
        name = f"{interpreter.name}+sdk" if wants else interpreter.name
        if wants and interpreter.kind == "node" and package_sdk == "wanted":
            name += LOADED
        if debugger:
            name += DEBUGGED
            self._debugger = debugger
        self._interpreters[name] = interpreter
        return name

    async def ensure(self, zygote: str) -> None:
        """Start the zygote unless it runs. Raises `RuntimeUnavailableError`."""
        await self._resting.ended(zygote)
        ready = self._zygotes.get(zygote)
        if ready is None:
            link = await self.runner()
            ready = self._zygotes.get(zygote)
            if ready is None:
                ready = self._zygotes[zygote] = asyncio.get_running_loop().create_future()
                link.send(self._zygote_message(zygote))
        await asyncio.shield(ready)
        self._resting.used(zygote)

    def _in_use(self, zygote: str) -> bool:
        return any(one.home == zygote and one.version is not None for one in self.instances.values())

    def _rest(self, zygote: str) -> None:
        """Let a zygote go, and its parked instances."""
        self._zygotes.pop(zygote, None)
        self._parked.pop(zygote, None)
        if self._link is not None:
            self._link.send({"do": "rest", "zygote": zygote})

    def _rested(self) -> None:
        """A zygote that was let go has ended; the runner has nothing to do. (A killed one comes back.)"""
        link = self._link
        if link is not None and not (self._zygotes or self.instances or self._resting.ending or self._lost):
            self._link = None
            self._spawn(link.stop())

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._refills.add(task)
        task.add_done_callback(self._refills.discard)

    def _zygote_message(self, zygote: str) -> dict[str, Any]:
        interpreter = self._interpreters[zygote]
        python = interpreter if interpreter.kind == "python" else self._own
        shown = [*self._names_shown.files]
        shown += [(python.prefix, python.prefix)] if python.prefix != "/usr" else []
        readable = [python.prefix, str(BOOTSTRAP)]
        sdk_folder = ""
        if interpreter.kind == "node":
            empty = self._settings.scratch / "empty"
            empty.mkdir(mode=0o755, exist_ok=True)
            shown += [(str(NODE_FOLDER), NODE_IN_TREE), (interpreter.program, NODE_PROGRAM), (str(empty), COMPILED)]
            readable += [str(NODE_FOLDER), interpreter.program]
            modules = sdk.node_modules(self._settings.cache)
            if modules:
                shown.append((modules, "/var/node_modules"))
                readable.append(modules)
                sdk.link_beside_packages(self._settings.packages, modules)
        elif interpreter.kind == "python":
            sdk_folder, sdk_shown, sdk_readable = sdk.python(self._settings.scratch, tree=self.tree)
            shown += sdk_shown
            readable += sdk_readable
            if zygote.endswith(DEBUGGED):
                shown.append((self._debugger, debugger_packages.IN_TREE))
                readable.append(self._debugger)
        else:
            program_shown, program_readable = shown_of(interpreter, self._settings.cache)
            shown += program_shown
            readable += program_readable
        return {
            "do": "zygote", "key": zygote, "python": python.program, "sdk": sdk_folder,
            "preload": sdk.PRELOADED if zygote.endswith("+sdk") else [], "shown": shown, "readable": readable,
        }  # fmt: skip

    # -- instances

    async def take(self, version: FunctionVersion, zygote: str, claim: dict[str, Any]) -> Instance:
        """An instance that waits for `claim` and has the function's code in reach: a parked one if there is one."""
        await self.ensure(zygote)
        interpreter = self._interpreters[zygote]
        if claim["supervised"] and not is_program(interpreter):
            return await self._supervised(zygote, managed(self._argv(zygote, claim["environment"])))
        if not is_program(interpreter) and (acts_at_start(version.environment) or claim["own_process"]):
            return await self._program(zygote, claim)
        node = interpreter.kind == "node"
        if node and not self.tree:
            return await self._program(zygote, claim)
        parked = self._parked.setdefault(zygote, deque())
        while parked:
            instance = parked.pop()
            if instance.alive:
                break
        else:
            instance = await self._park(
                zygote, group=False
            )  # joining a memory group takes 5 to 20 ms: none on this path
        self._refill_soon(zygote)
        if isinstance(instance, SupervisedInstance):
            instance.program = program_of(interpreter, claim, tree=self.tree, cache=self._settings.cache)
        if node:
            assert self._link is not None
            self._link.send({"do": "settle", "zygote": zygote, "id": instance.name, "claim": claim})
            try:
                await instance.settled
            except InstanceGoneError:
                why = "; ".join(instance.early[-3:]) or "it ended at once"
                raise RuntimeUnavailableError(f"An execution environment could not be set up: {why}") from None
        return instance

    async def _supervised(self, zygote: str, program: Program, *, group: bool = True) -> Instance:
        """An instance whose runtime and extensions a supervisor starts, once it is told of its function."""

        def make(*arguments: Any) -> SupervisedInstance:
            return SupervisedInstance(*arguments, around=self._around, framed=program.framed)

        instance = await self._start(zygote, {"do": "supervise", "group": group}, make)
        assert isinstance(instance, SupervisedInstance)
        instance.program = program
        instance.give_up = lambda: self.kill(instance)
        return instance

    async def _park(self, zygote: str, *, group: bool = True) -> Instance:
        if is_program(self._interpreters[zygote]):
            return await self._supervised(zygote, Program(()), group=group)
        if self._interpreters[zygote].kind == "node":
            return await self._start(
                zygote,
                {
                    "do": "program", "group": group, "argv": self._argv(zygote, {}),
                    "env": {"TZ": ":UTC", "LANG": "en_US.UTF-8", **without_extra(self.trust)},
                },
            )  # fmt: skip
        return await self._start(zygote, {"do": "park", "group": group})

    async def _program(self, zygote: str, claim: dict[str, Any]) -> Instance:
        """A process of the function's own, started with its variables."""
        environment = claim["environment"]
        message = {"do": "program", "argv": self._argv(zygote, environment), "env": environment, "claim": claim}
        return await self._start(zygote, message)

    def _argv(self, zygote: str, environment: dict[str, str]) -> list[str]:
        preloaded = sdk.NODE_PRELOADED if zygote.endswith(LOADED) else ()
        return managed_command(
            self._interpreters[zygote], environment, preloaded, tree=self.tree, trust=bool(self.trust)
        )

    async def start_snapshot(self, zygote: str) -> Instance:
        """An instance that others are to be forks of, once it has its function."""
        await self.ensure(zygote)
        return await self._start(zygote, {"do": "snapshot", "group": True})

    async def start_restored(self, origin: Instance, particulars: dict[str, Any]) -> Instance:
        """A fork of a snapshot, about to wait for its claim."""
        return await self._start(origin.home, {"do": "restore", **particulars})

    async def _start(self, zygote: str, message: dict[str, Any], make: Callable[..., Instance] = Instance) -> Instance:
        link = await self.runner()
        self._count += 1
        name = f"{zygote.replace('+', '-')}-{self._count}"
        instance = make(name, zygote, self._machine.wall_ms(), self._instance_lost)
        self.instances[name] = instance
        fds = await instance.open()
        link.send({**message, "zygote": zygote, "id": name}, fds)
        return instance

    def kill(self, instance: Instance) -> None:
        """End it now, whatever it does; extensions have the time to end that AWS gives them."""

        def kill() -> None:
            if self._link is not None:
                self._link.send({"do": "kill", "id": instance.name})

        instance.leave(kill)

    def limit(self, instance: Instance, memory_mb: int) -> None:
        """Its init phase is over: from here on it has the part of the cores that goes with its memory."""
        if self._link is not None:
            self._link.send({"do": "limit", "id": instance.name, "mb": memory_mb})

    def _write_log(self, version: FunctionVersion, stream: str, lines: list[str]) -> None:
        self.write_log(version, stream, lines)

    def watch(self, instance: Instance, memory_mb: int) -> None:
        """Let the runner see to its memory, if no memory group does."""
        if self._link is not None:
            self._link.send({"do": "watch", "id": instance.name, "mb": memory_mb})

    async def fill(self, zygote: str) -> None:
        """Park as many instances as are to wait."""
        if self.closing or (self._interpreters[zygote].kind == "node" and not self.tree):
            return
        await self.ensure(zygote)
        async with self._filling.setdefault(zygote, asyncio.Lock()):  # two at once would park too many
            parked = self._parked.setdefault(zygote, deque())
            while len(parked) < self._settings.parked:
                parked.appendleft(await self._park(zygote))

    def _refill_soon(self, zygote: str) -> None:
        def refill() -> None:
            if not zygote.endswith(DEBUGGED) and not self.closing and self._link is not None:
                self._spawn(self._refill(zygote))

        self._machine.call_later(REFILL_AFTER_S, refill)

    async def _refill(self, zygote: str) -> None:
        with suppress(RuntimeUnavailableError, OSError):  # whoever needs an instance meets the same error, and tells it
            await self.fill(zygote)

    def _instance_lost(self, instance: Instance) -> None:
        parked = self._parked.get(instance.home)
        if parked and instance in parked:
            parked.remove(instance)
        if instance.version is None and instance.early and not self.closing:
            _log.error("instance ended before it had a function", instance=instance.name, output=instance.early[-5:])
        self.on_lost(instance)
        if self._link is not None and not instance.exit_code.done() and not instance.leaving:
            self._link.send({"do": "kill", "id": instance.name})  # it may have hung up and go on all the same
        if self._link is None or instance.exit_code.done():
            self._forget(instance)

    def _forget(self, instance: Instance) -> None:
        """It has ended, and how is known."""
        self.instances.pop(instance.name, None)
        self._resting.unused(instance.home)
        if not self.instances:
            self._rested()

    # -- news from the runner

    def _hear(self, message: dict[str, Any], fds: Sequence[int] = ()) -> None:
        if "ready" in message:
            ready = self._zygotes.get(message["ready"])
            if ready is not None and not ready.done():
                ready.set_result(None)
        elif "lost" in message:
            ready = self._zygotes.pop(message["lost"], None)
            self._parked.pop(message["lost"], None)
            self._lost = not self._resting.gone(message["lost"])
            if not self._lost:
                self._rested()
                return
            _log.error("zygote ended", zygote=message["lost"])
            if ready is not None and not ready.done():
                ready.set_exception(RuntimeUnavailableError(f"The {message['lost']} zygote did not start."))
        elif "memory" in message:
            self.memory_kb = message["memory"]
        else:
            self._hear_of_instance(message, fds)

    def _hear_of_instance(self, message: dict[str, Any], fds: Sequence[int]) -> None:
        name = next((message[key] for key in ("started", "ended", "settled", "failed") if key in message), "")
        instance = self.instances.get(name)
        if instance is None or (fds and not instance.alive):
            for fd in fds:
                os.close(fd)
            return
        if "started" in message:
            instance.pid = message["pid"]
            instance.pidfd = fds[0] if fds else -1
        elif "settled" in message:
            if not instance.settled.done():
                instance.settled.set_result(None)
        elif "failed" in message:
            _log.error("instance failed to start", instance=name, why=message["why"])
            instance.close()
        else:
            instance.orphaned = message.get("orphaned", False)
            if not instance.exit_code.done():
                instance.exit_code.set_result(message["code"])
            if not instance.alive:
                self._forget(instance)

    def ask_memory(self) -> None:
        """Have `memory_kb` brought up to date."""
        if self._link is not None:
            self._link.send({"do": "memory"})

    def parked(self) -> set[str]:
        return {instance.name for waiting in self._parked.values() for instance in waiting}
