"""`tule-egress`: carries what functions send out of their network namespaces. Started by the runner alone.

Every instance has a loopback interface and nothing else; this process holds listening sockets inside each and opens the
connection proper on the host's network, if the function's egress allows it. Nothing is left on the host: no interface,
no rule, no setting. When it ends the runner ends too, for instances without a network are of no use.

What is carried: TCP, and DNS over UDP. Other datagrams are not. A connection that the far end refuses is reset.
"""

import asyncio
import encodings.idna  # noqa: F401 - uvloop asks for it at its first address, when files can no longer be read
import json
import os
import socket
import struct
import sys
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from ipaddress import IPv4Address, ip_address
from pathlib import Path
from typing import Any, Final, cast

from tule.runtime.bootstrap import confinement, landlock

MESSAGE_MAX: Final = 64 * 1024
FDS_MAX: Final = 64
SO_ORIGINAL_DST: Final = 80
CONNECT_WITHIN_S: Final = 75.0
"""Linux gives up on a connection after about two minutes, most clients far sooner (ours)."""

CONNECTIONS_MAX: Final = 1024
"""Of one instance: AWS's limit on its descriptors."""

QUERIES_MAX: Final = 256
ANSWERED_WITHIN_S: Final = 10.0
DATAGRAM_MAX: Final = 4096

OWN_NAMES: Final = (".amazonaws.com", ".api.aws", ".on.aws", ".localhost")
"""What functions that reach Tule alone may ask a name server for."""

Target = tuple[str, int]
Socket = Sequence[Any]
"""(kind, host, port, host on the outside, port on the outside)"""


class Half(asyncio.Protocol):
    """One end of a connection that is carried: what comes in goes out at the other."""

    def __init__(self, done: Callable[[], None]) -> None:
        self.other: Half | None = None
        self.done = done
        self.ended = False
        self.transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)  # uvloop's own class is no subclass

    def data_received(self, data: bytes) -> None:
        if self.other is not None and self.other.transport is not None:
            self.other.transport.write(data)

    def pause_writing(self) -> None:
        if self.other is not None and self.other.transport is not None:
            self.other.transport.pause_reading()

    def resume_writing(self) -> None:
        if self.other is not None and self.other.transport is not None:
            self.other.transport.resume_reading()

    def eof_received(self) -> bool:
        self.ended = True
        other = self.other
        if other is None or other.transport is None or other.ended:
            return False
        with suppress(OSError, RuntimeError):
            other.transport.write_eof()
        return True

    def connection_lost(self, exc: Exception | None) -> None:
        self.ended = True
        other, self.other = self.other, None
        if other is not None and other.transport is not None:
            if exc is None:
                other.transport.close()
            else:
                other.transport.abort()
        self.done()


class Query(asyncio.DatagramProtocol):
    """A question to a name server, whose answer goes back into the namespace."""

    def __init__(self, question: bytes, answer: Callable[[bytes], None]) -> None:
        self._question = question
        self._answer = answer

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.DatagramTransport", transport)
        self._transport.sendto(self._question)

    def datagram_received(self, data: bytes, addr: Any) -> None:  # noqa: ARG002 - asyncio's own signature
        self._answer(data)
        self._transport.close()


class Guest:
    """One instance's sockets and what they may be used for."""

    def __init__(self, egress: "Egress", pidfd: int) -> None:
        self._egress = egress
        self._loop = asyncio.get_running_loop()
        self._pidfd = pidfd
        self._sockets: list[socket.socket] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self._halves: set[asyncio.Transport] = set()
        self._carried = 0
        self._queries = 0
        self.policy = "none"

    def hear(self, fds: Iterable[int], named: Iterable[Socket]) -> None:
        """Serve sockets of the namespace."""
        for fd, (kind, host, port, *target) in zip(fds, named, strict=True):
            sock = socket.socket(fileno=fd)
            sock.setblocking(False)
            self._sockets.append(sock)
            to = cast("Target", tuple(target)) if target else None
            name_server = port == 53 or to is None
            if kind == "tcp":
                self._loop.add_reader(fd, self._accept, sock, to, name_server and to is not None)
            else:
                self._loop.add_reader(fd, self._datagram, sock, to)
            del host

    def close(self) -> None:
        for sock in self._sockets:
            self._loop.remove_reader(sock.fileno())
            sock.close()
        for task in list(self._tasks):
            task.cancel()
        for transport in list(self._halves):
            transport.abort()
        self._loop.remove_reader(self._pidfd)
        os.close(self._pidfd)

    # -- TCP

    def _accept(self, sock: socket.socket, target: Target | None, resolving: bool) -> None:  # noqa: FBT001 - a callback's
        try:
            inner, _ = sock.accept()
        except OSError:
            return
        inner.setblocking(False)
        if self.policy == "none" or self._carried >= CONNECTIONS_MAX or (resolving and self.policy != "all"):
            _reset(inner)
            return
        to = target or self._egress.destination(self.policy, _original(inner))
        if to is None:
            _reset(inner)
            return
        self._carried += 1
        task = self._loop.create_task(self._carry(inner, to))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _carry(self, inner: socket.socket, to: Target) -> None:
        try:
            async with asyncio.timeout(CONNECT_WITHIN_S):
                outer_transport, outer = await self._loop.create_connection(lambda: Half(self._one_less), *to)
        except (OSError, TimeoutError, asyncio.CancelledError):
            self._carried -= 1
            _reset(inner)
            return
        if self._egress.is_tules(outer_transport.get_extra_info("socket"), to):
            outer_transport.abort()
            _reset(inner)
            return
        outer_transport.pause_reading()
        near = Half(lambda: None)
        near.other, outer.other = outer, near
        try:
            transport, _ = await self._loop.connect_accepted_socket(lambda: near, inner)
        except OSError:
            outer_transport.abort()
            return
        self._halves.add(transport)
        near.done = lambda: self._halves.discard(transport)
        outer_transport.resume_reading()

    def _one_less(self) -> None:
        self._carried -= 1

    # -- DNS

    def _datagram(self, sock: socket.socket, target: Target | None) -> None:
        try:
            question, sender = sock.recvfrom(DATAGRAM_MAX)
        except OSError:
            return
        if self.policy == "none" or self._queries >= QUERIES_MAX:
            return
        if self.policy != "all" and not _is_own(question):
            with suppress(OSError):
                sock.sendto(_refusal(question), sender)
            return
        to = target or self._egress.name_server
        if to is None:
            return
        self._queries += 1
        task = self._loop.create_task(self._ask(sock, question, sender, to))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _ask(self, sock: socket.socket, question: bytes, sender: Any, to: Target) -> None:
        answered = self._loop.create_future()

        def answer(data: bytes) -> None:
            if not answered.done():
                answered.set_result(data)

        transport = None
        try:
            async with asyncio.timeout(ANSWERED_WITHIN_S):
                transport, _ = await self._loop.create_datagram_endpoint(
                    lambda: Query(question, answer), remote_addr=to
                )
                sock.sendto(await answered, sender)
        except (OSError, TimeoutError):
            return
        finally:
            self._queries -= 1
            if transport is not None:
                transport.close()


class Egress:
    """All instances' sockets."""

    def __init__(self, sock: socket.socket, settings: dict[str, Any]) -> None:
        self._sock = sock
        self._loop = asyncio.get_running_loop()
        self._guests: dict[str, Guest] = {}
        self._public_port = int(settings["public_port"])
        self._functions_port = int(settings["functions_port"])
        self.name_server = _name_server()
        self.ended = self._loop.create_future()
        sock.setblocking(False)
        self._loop.add_reader(sock.fileno(), self._told)

    def destination(self, policy: str, asked: Target | None) -> Target | None:
        """Where a connection to anywhere is to go, or None if it may not."""
        if asked is None or policy != "all":
            return None
        address = ip_address(asked[0])
        if address.is_loopback or address.is_unspecified or address.is_multicast or address.is_link_local:
            return None  # link-local: where clouds hand out the host's own credentials
        if asked[1] == self._public_port and _is_of_this_host(asked[0]):
            return ("127.0.0.1", self._functions_port)
        return asked

    def is_tules(self, outer: socket.socket, to: Target) -> bool:
        """Whether a connection came out at a listener of Tule's that functions must not use."""
        here = outer.getpeername()[0] == outer.getsockname()[0]
        return here and not ip_address(to[0]).is_loopback and to[1] in {self._public_port, self._functions_port}

    def _told(self) -> None:
        while True:
            try:
                data, fds, _, _ = socket.recv_fds(self._sock, MESSAGE_MAX, FDS_MAX)
            except BlockingIOError:
                return
            except OSError:
                data, fds = b"", []
            if not data:
                if not self.ended.done():
                    self.ended.set_result(None)
                self._loop.remove_reader(self._sock.fileno())
                return
            self._take(json.loads(data), fds)

    def _take(self, message: dict[str, Any], fds: list[int]) -> None:
        if "new" in message:
            name, pidfd = message["new"], fds.pop(0)
            guest = self._guests[name] = Guest(self, pidfd)
            self._loop.add_reader(pidfd, self._gone, name)
        else:
            known = self._guests.get(message["open"])
            if known is None:
                for fd in fds:
                    os.close(fd)
                return
            guest = known
            guest.policy = message["egress"]
        guest.hear(fds, message["sockets"])

    def _gone(self, name: str) -> None:
        self._guests.pop(name).close()


def _reset(sock: socket.socket) -> None:
    with suppress(OSError):
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.close()


def _original(sock: socket.socket) -> Target | None:
    """Where a connection wanted to go before it was turned round."""
    try:
        found = sock.getsockopt(socket.SOL_IP, SO_ORIGINAL_DST, 16)
    except OSError:
        return None
    return str(IPv4Address(found[4:8])), struct.unpack(">H", found[2:4])[0]


def _is_of_this_host(address: str) -> bool:
    """Whether an address is one of the host's own."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        try:
            sock.bind((address, 0))
        except OSError:
            return False
    return True


def _name_server() -> Target | None:
    """The first name server of the host's that has an IPv4 address."""
    with suppress(OSError):
        for line in Path("/etc/resolv.conf").read_text("utf-8", "replace").splitlines():
            words = line.split()
            if len(words) > 1 and words[0] == "nameserver" and ":" not in words[1]:
                return words[1], 53
    return None


def _is_own(question: bytes) -> bool:
    """Whether a DNS question asks for one of Tule's own names."""
    labels, at = [], 12
    while at < len(question) and 0 < question[at] < 64:
        labels.append(question[at + 1 : at + 1 + question[at]].decode("ascii", "replace").lower())
        at += 1 + question[at]
    return ("." + ".".join(labels)).endswith(OWN_NAMES)


def _refusal(question: bytes) -> bytes:
    """The answer "refused" to a DNS question."""
    return question[:2] + b"\x81\x85" + question[4:]


async def serve(sock: socket.socket, settings: dict[str, Any]) -> None:
    """Until the runner hangs up."""
    await Egress(sock, settings).ended


def _confine(settings: dict[str, Any]) -> None:
    import resource

    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    if landlock.version():
        landlock.restrict(["/etc", "/usr", "/lib"], [])
    confinement.become(int(settings["uid"]))
    confinement.die_with_parent(int(settings["parent"]))


def main() -> None:
    """`python -m tule.runtime.egress DESCRIPTOR SETTINGS`."""
    import uvloop

    sock = socket.socket(fileno=int(sys.argv[1]))
    settings = json.loads(sys.argv[2])
    confinement.die_with_parent(int(settings["parent"]))
    uvloop.install  # noqa: B018 - loaded before the file system is closed to us
    _confine(settings)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(serve(sock, settings))


if __name__ == "__main__":
    main()
