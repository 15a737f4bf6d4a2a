"""What of this machine functions reach from networks of their own, and under which address."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from ipaddress import ip_address
from pathlib import Path
from typing import Final, Literal
from urllib.parse import urlsplit

RESOLV_CONF: Final = Path("/etc/resolv.conf")
LOOPBACK: Final = "127.0.0.1"

Address = tuple[str, str, int, str, int]
"""(tcp or udp, host and port in the instance's network, host and port on this machine)"""


@dataclass(frozen=True, slots=True)
class Reach:
    """What people allow."""

    public_port: int = 0
    """Where Tule listens for people. Functions that call it there come out at the listener made for them."""
    host_ports: tuple[int, ...] = ()
    """Services on this machine's loopback that functions find at their own."""

    def addresses(self, endpoint_url: str, names: Sequence[Address] = ()) -> list[Address]:
        """Everything that instances find in their networks: Tule, AWS's names, name servers and the host's services."""
        endpoint = urlsplit(endpoint_url)
        host, port = endpoint.hostname or LOOPBACK, endpoint.port or 80
        found: dict[tuple[str, str, int], tuple[str, int]] = {}
        if ip_address(host).is_loopback:
            found["tcp", host, port] = (host, port)
        if self.public_port:
            found["tcp", LOOPBACK, self.public_port] = (host, port)
        for service in self.host_ports:
            found.setdefault(("tcp", LOOPBACK, service), (LOOPBACK, service))
        for server in () if names else _local_name_servers():
            for kind in ("udp", "tcp"):
                found[kind, server, 53] = (server, 53)
        found |= {(kind, inside, at): (outside, there) for kind, inside, at, outside, there in names}
        return [(*inside, *outside) for inside, outside in found.items()]


@dataclass(frozen=True, slots=True)
class Sandbox:
    """What people say of the sandboxes of all functions."""

    reach: Reach = field(default_factory=Reach)
    egress: Literal["all", "tule-only", "none"] = "all"
    """Of functions that say nothing themselves."""
    least_rung: str = ""
    """Functions that would be confined by less don't run."""


def _local_name_servers() -> list[str]:
    """Name servers on this machine's loopback, as systemd-resolved is one."""
    try:
        lines = RESOLV_CONF.read_text("utf-8", "replace").splitlines()
    except OSError:
        return []
    named = [words[1] for line in lines if len(words := line.split()) > 1 and words[0] == "nameserver"]
    return [server for server in named if server.startswith("127.")]
