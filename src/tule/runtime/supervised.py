"""An execution environment whose runtime is a program of its own, or that has extensions: Tule's end of it.

The runtime is either managed (it speaks frames, like any other instance's) or asks for its work over the Runtime API.
"""

import asyncio
import os
import signal
import socket
from collections.abc import Callable, Coroutine, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final

import msgspec

from tule.kernel.clocks import MachineClock
from tule.kernel.randomness import RandomSource
from tule.kernel.tasks import Supervisor
from tule.runtime import outcomes
from tule.runtime.contract import INIT_LIMIT_S, FunctionVersion
from tule.runtime.execution_environment import CLAIM, Instance, InstanceGoneError
from tule.runtime.execution_environment import INVOKE as INVOKE_FRAME
from tule.runtime.runtime_api.extensions import EXITED, INVOKE, SHUTDOWN, Extensions
from tule.runtime.runtime_api.peers import uid_of_peer
from tule.runtime.runtime_api.reports import Reports
from tule.runtime.runtime_api.server import Apis, RuntimeApiServer
from tule.runtime.runtime_api.telemetry import Telemetry
from tule.runtime.runtime_api.turns import Turns, Work, headers_of, told_of
from tule.runtime.side import Lines, Side

SHUTDOWN_EXTERNAL_S: Final = 2.0
SHUTDOWN_INTERNAL_S: Final = 0.5
RUNTIME_ENDS_WITHIN_S: Final = 0.3
"""AWS: the Shutdown phase lasts 2,000 ms with external extensions, 500 ms with internal ones alone, 0 ms without any;
the runtime has 300 ms of it after its SIGTERM."""

RUNTIME: Final = ""
"""The runtime among the names of what a supervisor started."""

Result = tuple[dict[str, Any], bytes]


class _FailedError(Exception):
    """The environment can't go on, and this is AWS's error for it."""

    def __init__(self, error_type: str, problem: str = "", told: dict[str, Any] | None = None) -> None:
        super().__init__(problem)
        self.told = told or {"errorType": error_type, "problem": problem}


@dataclass(frozen=True, slots=True)
class Program:
    """What runs as the runtime: the first of `paths` that exists, with arguments."""

    paths: Sequence[str]
    arguments: Sequence[str] = ()
    framed: bool = False
    """Whether it is one of Tule's own bootstraps."""


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What every supervised instance needs of the rest."""

    machine: MachineClock
    random: RandomSource
    tasks: Supervisor
    write_log: Callable[[FunctionVersion, str, list[str]], None]


class SupervisedInstance(Instance):
    """See the module. Between `ask` and its answer at most one coroutine waits for the environment."""

    def __init__(
        self,
        name: str,
        home: str,
        started_ms: int,
        lost: Callable[[Instance], None],
        *,
        around: Surroundings,
        framed: bool = False,
    ) -> None:
        super().__init__(name, home, started_ms, lost)
        self._around = around
        self._machine = around.machine
        self.program = Program(())
        self.give_up: Callable[[], None] = self.close
        """Has it ended as an instance that is no longer wanted is."""
        self._framed = framed
        self._side = Side(self._heard, self._ended)
        self._changed: asyncio.Future[None] | None = None
        self._room: asyncio.Future[None] | None = None
        self._runtime_code: int | None = None
        self._launch = ""
        self._running: set[asyncio.Task[None]] = set()
        self._lines: Lines | None = None
        self._extension_output: asyncio.ReadTransport | None = None
        self._listening = False
        self._serving = False
        self._ready = False
        self._asking = False
        self._server: RuntimeApiServer | None = None

    async def open(self) -> Sequence[int]:
        """Connect; the descriptors that the supervisor gets."""
        self._loop = asyncio.get_running_loop()
        side, output = self._side.open(), self._open_output()
        return (side, output, await self._open_frames()) if self._framed else (side, output)

    def _begin_apis(self, claim: dict[str, Any]) -> None:
        version = self.version
        function = {"functionName": claim["name"], "functionVersion": claim["version"], "handler": claim["handler"]}
        if version is not None:
            function["accountId"] = version.account
        self.turns = Turns(self._poke, self._take_chunk)
        self.extensions = Extensions(self._around.random, function, self._poke)
        self.telemetry = Telemetry(self._machine, self._side.connect, lambda: self.frozen)
        kind = claim["environment"].get("AWS_LAMBDA_INITIALIZATION_TYPE", "on-demand")
        self._reports = Reports(self.telemetry, version, kind)

    # -- news

    def _heard(self, message: dict[str, Any], fds: list[int]) -> None:
        if "listening" in message:
            self._listening = True
            listener, printed = socket.socket(fileno=fds[0]), fds[1]
            self.extensions.expect(message["extensions"])
            self._spawn(self._serve(listener, printed, has_extensions=bool(message["extensions"])))
        elif "exited" in message:
            self._exited(message["exited"], message.get("code"), message.get("launch", ""))
        self._poke()

    async def _serve(self, listener: socket.socket, printed: int, *, has_extensions: bool) -> None:
        apis = Apis(self.turns, self.extensions, self.telemetry)
        self._server = RuntimeApiServer(apis, self._machine, self._around.tasks, self._may_connect)
        listener.setblocking(False)
        await self._server.open(listener)
        if has_extensions:
            file = os.fdopen(printed, "rb", 0)
            lines = self._lines = Lines(self._extension_said)
            self._extension_output, _ = await self._loop.connect_read_pipe(lambda: lines, file)
        else:
            os.close(printed)
        self._serving = True
        self._poke()

    def _may_connect(self, connection: socket.socket) -> bool:
        """In a network of its own nobody else reaches the listener; elsewhere the other end must be the same user's."""
        return uid_of_peer(connection) in (None, self._side.uid)

    def _exited(self, name: str, code: int | None, launch: str) -> None:
        if name != RUNTIME:
            kind = "Extension.LaunchError" if launch else "Extension.Crash"
            self.extensions.exited(name, "" if self.leaving else kind)
            return
        self._launch = launch
        self._runtime_code = code
        if self._ready and not self._asking and not self.leaving:
            self.give_up()  # it had nothing to do, and is no use to the next request

    def _poke(self) -> None:
        if self._changed is not None and not self._changed.done():
            self._changed.set_result(None)

    async def _until(self, done: Callable[[], bool], *, runtime_needed: bool = True) -> None:
        """Wait until something is so. Raises `InstanceGoneError` and `_FailedError` if it can't become so."""
        while not done():
            if not self.alive:
                raise InstanceGoneError
            self._look_for_failures(runtime_needed=runtime_needed)
            self._changed = self._loop.create_future()
            try:
                await self._changed
            finally:
                self._changed = None

    def _look_for_failures(self, *, runtime_needed: bool) -> None:
        failed = self.extensions.failed_one
        if failed is not None:
            raise _FailedError(failed.error_type, f"extension {failed.name} failed")
        if not runtime_needed:
            return
        if self._launch:
            raise _FailedError("Runtime.InvalidEntrypoint", self._launch)
        if self.turns.init_error is not None:
            raise _FailedError("", told=told_of(self.turns.init_error.error, self.turns.init_error.body))
        if self._runtime_code is not None:
            raise InstanceGoneError

    # -- asking

    async def ask(self, kind: int, head: dict[str, Any], body: bytes = b"") -> Result:
        """See `Instance.ask`."""
        if not self.alive:
            raise InstanceGoneError
        self._asking = True
        try:
            result = await (self._init(head) if kind == CLAIM else self._invoke(head, body))
        except InstanceGoneError:
            if self.alive:
                self.give_up()
            raise
        finally:
            self._asking = False
        self._ready = True
        return result

    async def _init(self, claim: dict[str, Any]) -> Result:
        started_s = self._machine.monotonic_s()
        self._begin_apis(claim)
        runtime = {"programs": list(self.program.paths), "arguments": list(self.program.arguments)}
        self._side.say({"claim": claim, "runtime": runtime})
        self._reports.init_start()
        answer: dict[str, Any] = {"error": None}
        try:
            answer |= await self._start_all(claim)
        except _FailedError as error:
            answer["error"] = error.told
        ms = (self._machine.monotonic_s() - started_s) * 1000
        self.drain()
        self._reports.init_end(ms, str((answer["error"] or {}).get("errorType", "")))
        self.telemetry.close_subscriptions()
        self.extensions.registration_open = False
        return {**answer, "ms": ms}, b""

    async def _start_all(self, claim: dict[str, Any]) -> dict[str, Any]:
        """Extensions register, then the runtime starts; both are ready when they ask for their first event."""
        await self._until(lambda: self._serving)
        answer: dict[str, Any] = {}
        if self.extensions.all:
            await self._until(lambda: self.extensions.all_registered, runtime_needed=False)
            self._side.say({"do": "start"})
        if self._framed:
            answer, _ = await self._frame_answered(CLAIM, claim)
            if answer.get("error"):
                return answer
        else:
            await self._runtime_ready()
        for extension in self.extensions.all:
            self._reports.extension_ready(extension)
        await self._until(lambda: self.extensions.all_ready)
        return answer

    async def _runtime_ready(self) -> None:
        """AWS starts a runtime that fails in its init phase, or takes more than 10 s, a second time."""
        started_s = self._machine.monotonic_s()
        try:
            async with asyncio.timeout(INIT_LIMIT_S):
                await self._until(lambda: self.turns.ready)
        except TimeoutError:
            self._init_report(started_s, "init", "timeout")
        except InstanceGoneError:
            if not self.alive:
                raise
            self._init_report(started_s, "init", f"error\tError Type: {outcomes.EXIT_ERROR}")
        except _FailedError as error:
            if self.turns.init_error is None:
                raise
            self._init_report(started_s, "init", f"error\tError Type: {error.told['errorType']}")
        else:
            return
        await self._again()

    async def _again(self) -> None:
        if self._runtime_code is None:
            self._side.say({"do": "signal", "who": RUNTIME, "signal": signal.SIGKILL})
            await self._until(lambda: self._runtime_code is not None, runtime_needed=False)
        self._runtime_code = None
        self.turns.restart()
        self._side.say({"do": "start"})
        started_s = self._machine.monotonic_s()
        try:
            await self._until(lambda: self.turns.ready)
        except InstanceGoneError:
            self._init_report(started_s, "invoke", f"error\tError Type: {outcomes.EXIT_ERROR}")
            raise
        except _FailedError as error:
            self._init_report(started_s, "invoke", f"error\tError Type: {error.told['errorType']}")
            raise

    def _init_report(self, started_s: float, phase: str, status: str) -> None:
        ms = (self._machine.monotonic_s() - started_s) * 1000
        self.drain()
        self._say([f"INIT_REPORT Init Duration: {ms:.2f} ms\tPhase: {phase}\tStatus: {status}"])

    async def _invoke(self, head: dict[str, Any], payload: bytes) -> Result:
        started_s = self._machine.monotonic_s()
        deadline_ms = int(self._machine.wall_ms() + head["deadline_ms"] - started_s * 1000)
        self._reports.start(head)
        self.extensions.send(
            {
                "eventType": INVOKE, "deadlineMs": deadline_ms, "requestId": head["request_id"],
                "invokedFunctionArn": head["arn"],
                "tracing": {"type": "X-Amzn-Trace-Id", "value": head["trace"]},
            }
        )  # fmt: skip
        try:
            if self._framed:
                answer, body = await self._frame_answered(INVOKE_FRAME, head, payload)
            else:
                answer, body = await self._work(head, payload, deadline_ms)
        except _FailedError as error:
            answer, body = (
                {"error": error.told["errorType"]},
                msgspec.json.encode(outcomes.with_request(error.told, head["request_id"])),
            )
            self.give_up()
        ms = (self._machine.monotonic_s() - started_s) * 1000
        self.drain()
        self._rest_after(head, ms, str(answer.get("error") or ""), len(body))
        return {**answer, "ms": ms, "memory_kb": self._side.peak_kb()}, body

    async def _frame_answered(self, kind: int, head: dict[str, Any], body: bytes = b"") -> Result:
        """A managed runtime's answer, unless an extension fails before it comes."""
        answer = self._loop.create_task(super().ask(kind, head, body))
        answer.add_done_callback(lambda _: self._poke())
        try:
            await self._until(answer.done)
            return answer.result()
        finally:
            answer.cancel()

    async def _work(self, head: dict[str, Any], payload: bytes, deadline_ms: int) -> Result:
        work = Work(head["request_id"], headers_of(head, deadline_ms), payload)
        self.turns.give(work)
        await self._until(lambda: work.answer is not None)
        answer = work.answer
        assert answer is not None
        return {"error": answer.error}, answer.body

    def _rest_after(self, head: dict[str, Any], ms: float, error: str, produced: int) -> None:
        """The request is answered; the environment is free when its extensions have done their part."""
        self._reports.runtime_done(head, ms, error, produced)
        if self._at_rest():
            self._reports.report(head, ms, error, self._side.peak_kb() // 1024)
            return
        rest = self.rest = self._loop.create_future()

        async def wait() -> None:
            with suppress(_FailedError, InstanceGoneError):
                await self._until(self._at_rest)
            self._reports.report(head, ms, error, self._side.peak_kb() // 1024)
            if not rest.done():
                rest.set_result(None)

        self._spawn(wait())

    def _at_rest(self) -> bool:
        """Whether all extensions wait for what comes next. (The runtime's next request waits for the runtime.)"""
        return self.extensions.all_ready

    # -- what it streams and prints

    async def _take_chunk(self, kind: str, chunk: bytes) -> None:
        if self.on_chunk is not None:
            self.on_chunk(kind, chunk)
        if self._room is not None:
            await asyncio.shield(self._room)

    def pause(self) -> None:
        """See `Instance.pause`."""
        if self._framed:
            super().pause()
        elif self._room is None:
            self._room = self._loop.create_future()

    def resume(self) -> None:
        """See `Instance.resume`."""
        if self._framed:
            super().resume()
        room, self._room = self._room, None
        if room is not None and not room.done():
            room.set_result(None)

    def _say(self, lines: list[str]) -> None:
        if self._listening:
            self.telemetry.tell_lines("function", lines)
        super()._say(lines)

    def _extension_said(self, lines: list[str]) -> None:
        self.telemetry.tell_lines("extension", lines)
        if self._asking or self.version is None:
            super()._say(lines)
        else:
            self._around.write_log(self.version, self.log_stream, lines)

    # -- the end

    async def exit_status(self) -> int | None:
        """See `Instance.exit_status`: of the runtime, if it is known."""
        return self._runtime_code if self._runtime_code is not None else await super().exit_status()

    def leave(self, kill: Callable[[], None]) -> None:
        """See `Instance.leave`. Extensions are told, and have their time to end."""
        reason = "failure" if self._runtime_code is not None else "timeout" if self._changed is not None else "spindown"
        told = self._listening and not self.leaving and self._side.is_open and bool(self.extensions.all)
        if not told:
            if not self.leaving:
                kill()
                self.close()
            return
        self.thaw()
        self.leaving = True
        self._abandon()
        self._spawn(self._shut_down(reason, kill))

    async def _shut_down(self, reason: str, kill: Callable[[], None]) -> None:
        limit_s = SHUTDOWN_EXTERNAL_S if self.extensions.external else SHUTDOWN_INTERNAL_S
        try:
            async with asyncio.timeout(limit_s):
                if self._runtime_code is None:
                    self._side.say({"do": "signal", "who": RUNTIME, "signal": signal.SIGTERM})
                    with suppress(TimeoutError):
                        async with asyncio.timeout(RUNTIME_ENDS_WITHIN_S):
                            await self._ends(lambda: self._runtime_code is not None)
                deadline_ms = self._machine.wall_ms() + int(limit_s * 1000)
                event = {"eventType": SHUTDOWN, "shutdownReason": reason, "deadlineMs": deadline_ms}
                told = self.extensions.send(event)
                await self.telemetry.flush()
                await self._ends(lambda: all(extension.state == EXITED for extension in told))
                if self._lines is not None:
                    await asyncio.shield(self._lines.ended)  # their last words
        except TimeoutError:
            pass
        finally:
            kill()
            self._side.close()

    async def _ends(self, done: Callable[[], bool]) -> None:
        while self._side.is_open and not done():
            self._changed = self._loop.create_future()
            await self._changed

    def close(self) -> None:
        """See `Instance.close`."""
        self._side.close()

    def _abandon(self) -> None:
        """Nobody waits for it any more, though its extensions still end."""
        self.alive = False
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(InstanceGoneError())
        self._poke()
        self._lost(self)

    def connection_lost(self, exc: Exception | None) -> None:
        """Of the frames: a managed runtime has ended, which the supervisor is about to tell too."""
        del exc
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(InstanceGoneError())
            self._answer.exception()

    def _ended(self) -> None:
        """The supervisor is gone, and all with it."""
        was_alive, self.alive = self.alive, False
        if self._listening:
            self.telemetry.end()
        if self._server is not None:
            self._server.close()
        if self._extension_output is not None:
            self._extension_output.close()
        if self._framed:
            self._transport.close()
        if self.rest is not None and not self.rest.done():
            self.rest.set_result(None)
        self._poke()
        lost, self._lost = self._lost, _nothing
        super().connection_lost(None)
        if was_alive:
            lost(self)

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = self._loop.create_task(work)
        self._running.add(task)
        task.add_done_callback(self._running.discard)


def _nothing(_: Instance) -> None:
    """Its end was told before."""
