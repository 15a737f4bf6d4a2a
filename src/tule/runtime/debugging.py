"""Functions that are debugged: which ones, and the way from a debugger on this machine to what runs in a sandbox.

While a function is debugged its instances wait, before they load its code, until a debugger is there; no time limit
holds for them. The debugger finds them at a port of this machine's loopback: a connection to it is carried into the
instance's own network.
"""

import asyncio
import os
import socket
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

import structlog

from tule.kernel.clocks import Handle, MachineClock
from tule.runtime.bootstrap import dialer
from tule.runtime.contract import FunctionVersion
from tule.runtime.execution_environment import Instance

INNER_PORT: Final = 9229
"""Where the debugger's other end listens inside: Node's own port, and as good as any for Python."""

MORE_MEMORY_MB: Final = 512
"""What debugpy and its adapter take, so that a small function does not run out of memory because it is looked at."""

DIALED_WITHIN_S: Final = 10.0
TRY_EVERY_S: Final = 0.05
READ_BYTES: Final = 64 * 1024

_log = structlog.get_logger("tule.runtime")


@dataclass(slots=True)
class Session:
    """One function that is debugged."""

    arn: str
    port: int
    inner: int
    folder: str
    """Where debugpy lies for functions that bring none; "" for Node."""
    until_s: float = 0.0
    instance: Instance | None = None
    server: asyncio.Server | None = None
    lease: Handle | None = None
    relays: set[asyncio.Task[Any]] = field(default_factory=set)
    dialers: dict[str, "Dialer"] = field(default_factory=dict)


class Debugging:
    """All sessions, by function."""

    def __init__(self, machine: MachineClock, ended: Callable[[Session], None]) -> None:
        self._machine = machine
        self._ended = ended
        self._sessions: dict[str, Session] = {}
        self.runner_pid = 0
        """Whose user namespace holds the instances' networks; 0 for root."""
        self.own_networks = False

    def of(self, arn: str) -> Session | None:
        return self._sessions.get(arn)

    def version(self, version: FunctionVersion) -> FunctionVersion:
        """The version as it runs now: itself, or one to be debugged."""
        session = self._sessions.get(version.arn) if self._sessions else None
        if session is None:
            return version
        return replace(
            version, revision=f"{version.revision}+debug", debug_port=session.inner, concurrency=1, provisioned=0,
            snap_start=False, memory_mb=version.memory_mb + MORE_MEMORY_MB,
        )  # fmt: skip

    async def begin(self, arn: str, port: int, folder: str, held_s: float) -> Session:
        """Debug a function from its next cold start on, for `held_s` seconds unless this is called again.

        Raises OSError when the port is taken.
        """
        session = self._sessions.get(arn)
        if session is None:
            server = await asyncio.start_server(lambda *ends: self._connected(arn, *ends), "127.0.0.1", port)
            taken = int(server.sockets[0].getsockname()[1])
            session = Session(arn, taken, INNER_PORT if self.own_networks else _free_port(), folder, server=server)
            self._sessions[arn] = session
        self._hold(session, held_s)
        return session

    def _hold(self, session: Session, held_s: float) -> None:
        if session.lease is not None:
            session.lease.cancel()
        session.lease = self._machine.call_later(held_s, lambda: self.end(session.arn))

    def end(self, arn: str) -> None:
        """Debug it no longer; debuggers are hung up on, which lets what they halted go on."""
        session = self._sessions.pop(arn, None)
        if session is None:
            return
        if session.lease is not None:
            session.lease.cancel()
        if session.server is not None:
            session.server.close()
        for task in session.relays:
            task.cancel()
        for dialer_ in session.dialers.values():
            dialer_.close()
        self._ended(session)

    def close(self) -> None:
        for arn in list(self._sessions):
            self.end(arn)

    # -- the way in

    def _connected(self, arn: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        session = self._sessions.get(arn)
        if session is None:
            writer.close()
            return
        task = asyncio.get_running_loop().create_task(self._carry(session, reader, writer))
        session.relays.add(task)
        task.add_done_callback(session.relays.discard)

    async def _carry(self, session: Session, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            sock = await self._dialed(session)
            if sock is None:
                return  # nothing runs yet: debuggers try again
            inner_reader, inner_writer = await asyncio.open_connection(sock=sock)
            try:
                await asyncio.gather(_pump(reader, inner_writer), _pump(inner_reader, writer))
            finally:
                inner_writer.close()
        except OSError as error:
            _log.warning("debugger not connected", function=session.arn, why=str(error))
        finally:
            writer.close()

    async def _dialed(self, session: Session) -> socket.socket | None:
        """A connection to what listens in the instance, once it does."""
        until_s = self._machine.monotonic_s() + DIALED_WITHIN_S
        while (instance := session.instance) is not None and instance.alive:
            sock = await self._dial(session, instance)
            if sock is not None:
                return sock
            if self._machine.monotonic_s() > until_s:
                return None
            await self._machine.sleep(TRY_EVERY_S)
        return None

    async def _dial(self, session: Session, instance: Instance) -> socket.socket | None:
        if not self.own_networks:
            return await _connect(session.inner)
        known = session.dialers.get(instance.name)
        if known is None:
            if instance.pidfd < 0:
                return None
            for old in session.dialers.values():
                old.close()
            known = Dialer(instance.pidfd, self.runner_pid, session.inner)
            session.dialers = {instance.name: known}
        return await known.dial()


class Dialer:
    """A process in an instance's network, for as long as somebody debugs it."""

    def __init__(self, pidfd: int, runner_pid: int, port: int) -> None:
        self._sock, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._sock.setblocking(False)
        self._one = asyncio.Lock()
        inner = os.dup(pidfd)
        program = [sys.executable, "-I", "-S", str(Path(dialer.__file__))]
        arguments = [str(theirs.fileno()), str(inner), str(runner_pid), str(port)]
        self._process = subprocess.Popen(  # noqa: S603 - this very interpreter, and no shell
            [*program, *arguments], pass_fds=(theirs.fileno(), inner), stdin=subprocess.DEVNULL, env={}
        )
        os.close(inner)
        theirs.close()

    async def dial(self) -> socket.socket | None:
        """A connection, or None while nobody listens. Raises OSError when there is no way in."""
        loop = asyncio.get_running_loop()
        async with self._one:
            await loop.sock_sendall(self._sock, b"dial")
            readable = loop.create_future()

            def answered() -> None:
                if not readable.done():
                    readable.set_result(None)

            loop.add_reader(self._sock, answered)
            try:
                await readable
            finally:
                loop.remove_reader(self._sock)
            data, fds, _, _ = socket.recv_fds(self._sock, 16, 1)
        if not data:
            raise ConnectionError("the way into the function's network is closed")
        return socket.socket(fileno=fds[0]) if fds else None

    def close(self) -> None:
        self._sock.close()
        self._process.terminate()
        self._process.wait()


async def _connect(port: int) -> socket.socket | None:
    sock = socket.socket()
    sock.setblocking(False)
    try:
        await asyncio.get_running_loop().sock_connect(sock, ("127.0.0.1", port))
    except OSError:
        sock.close()
        return None
    return sock


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Carry bytes one way until that way ends."""
    with suppress(OSError):
        while data := await reader.read(READ_BYTES):
            writer.write(data)
            await writer.drain()
        writer.write_eof()


def _free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])
