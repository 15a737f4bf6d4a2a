"""AWS's host names inside sandboxes: `*.amazonaws.com` leads to Tule, for clients that ignore AWS_ENDPOINT_URL.

Tule takes an address of its own for that, with the ports that DNS and HTTPS have, and a certificate authority that
functions trust. All of it is made when the first function needs it.
"""

import asyncio
import errno
import os
import socket
import ssl
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import structlog

from tule.kernel.clocks import MachineClock
from tule.runtime.authority import Authority, system_bundle
from tule.runtime.reach import Address
from tule.runtime.resolver import PORT, RESOLV_CONF, Resolver, Upstream

ADDRESSES: Final = tuple(f"127.84.85.{last}" for last in range(76, 108))
"""Loopback addresses that nothing else is likely to use ("TUL" in ASCII), one for each Tule on a machine."""

HTTPS: Final = 443

CERTIFICATE_IN_TREE: Final = "/var/runtime/ca-cert.pem"
BUNDLE_IN_TREE: Final = "/var/runtime/ca-bundle.pem"

_log = structlog.get_logger("tule.runtime")

Serve = Callable[[socket.socket, ssl.SSLContext], Awaitable[None]]
"""Takes HTTPS requests of functions on a bound socket."""


@dataclass(frozen=True, slots=True)
class Shown:
    """What a tree must show for the names to lead here, and what its processes must be told."""

    files: tuple[tuple[str, str], ...] = ()
    """(on the host, in the tree)."""
    variables: dict[str, str] = field(default_factory=dict)


class CloudNames:
    """The names' address, made ready once."""

    def __init__(self, folder: Path, scratch: Path, machine: MachineClock, serve: Serve) -> None:
        self._folder = folder
        self._scratch = scratch
        self._machine = machine
        self._serve = serve
        self._making = asyncio.Lock()
        self._shown: Shown | None = None
        self._resolver: Resolver | None = None
        self.address = ""
        """Where the names lead; "" where Tule may not have one."""
        self.addresses: list[Address] = []
        """Where instances with networks of their own find the names, and where that is on this machine."""
        self.why_not = ""
        """What keeps Tule from it, for people."""

    async def shown(self) -> Shown:
        """What trees show; nothing where the names can't be had."""
        if self._shown is None:
            async with self._making:
                if self._shown is None:
                    self._shown = await self._make()
        return self._shown

    def close(self) -> None:
        if self._resolver is not None:
            self._resolver.close()

    async def _make(self) -> Shown:
        sockets = self._bound()
        if not sockets:
            _log.warning("amazonaws.com does not lead to Tule inside functions", why=self.why_not)
            return Shown()
        now = datetime.fromtimestamp(self._machine.wall_ms() / 1000, UTC)
        authority = await asyncio.to_thread(Authority, self._folder, now)
        datagrams, streams, https = sockets
        upstream = Upstream()
        self._resolver = Resolver(self.address, self._machine, upstream)
        await self._resolver.serve(datagrams, streams)
        await self._serve(https, authority.server_context())
        resolv_conf = self._scratch / f"resolv-{os.getpid()}.conf"
        resolv_conf.parent.mkdir(parents=True, exist_ok=True)
        resolv_conf.write_text(f"nameserver {self.address}\n{upstream.searching()}", encoding="utf-8")
        resolv_conf.chmod(0o644)
        return _shown(authority, resolv_conf)

    def _bound(self) -> tuple[socket.socket, socket.socket, socket.socket] | None:
        """Sockets for DNS and HTTPS on the first address that is free.

        Who may not have the ports proper takes others: in networks of their own instances find them at the proper ones.
        """
        for address in ADDRESSES:
            try:
                made = _at(address, PORT, HTTPS)
            except OSError as error:
                if error.errno == errno.EADDRINUSE:
                    continue
                if error.errno not in (errno.EACCES, errno.EPERM):
                    self.why_not = f"{address} can't be used: {error.strerror or error}"
                    return None
                made = _at(address, 0, 0)
            self.address = address
            datagrams, streams, https = (sock.getsockname()[1] for sock in made)
            self.addresses = [
                ("udp", address, PORT, address, datagrams),
                ("tcp", address, PORT, address, streams),
                ("tcp", address, HTTPS, address, https),
            ]
            return made
        self.why_not = f"all of {ADDRESSES[0]} to {ADDRESSES[-1]} are taken"
        return None


def _at(address: str, dns: int, https: int) -> tuple[socket.socket, socket.socket, socket.socket]:
    """Sockets for names, long answers and calls, bound to these ports, or to any for 0."""
    made: list[socket.socket] = []
    try:
        for kind, port in ((socket.SOCK_DGRAM, dns), (socket.SOCK_STREAM, dns), (socket.SOCK_STREAM, https)):
            sock = socket.socket(socket.AF_INET, kind)
            made.append(sock)
            sock.setblocking(False)
            if kind == socket.SOCK_STREAM:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            sock.bind((address, port))
    except BaseException:
        for sock in made:
            sock.close()
        raise
    datagrams, streams, calls = made
    return datagrams, streams, calls


def without_extra(variables: Mapping[str, str]) -> dict[str, str]:
    """The variables without the one that costs Node 20 ms when it starts; its children learn of it later."""
    return {name: value for name, value in variables.items() if name != "NODE_EXTRA_CA_CERTS"}


def _shown(authority: Authority, resolv_conf: Path) -> Shown:
    files = [
        (str(resolv_conf), str(RESOLV_CONF)),
        (str(authority.certificate), CERTIFICATE_IN_TREE),
        (str(authority.bundle), BUNDLE_IN_TREE),
    ]
    system = system_bundle()
    if system is not None:
        files.append((str(authority.bundle), str(system)))
    variables = {
        "NODE_EXTRA_CA_CERTS": CERTIFICATE_IN_TREE,
        "AWS_CA_BUNDLE": BUNDLE_IN_TREE,
        "SSL_CERT_FILE": BUNDLE_IN_TREE,
    }
    return Shown(tuple(files), variables)
