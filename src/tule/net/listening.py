"""The sockets that Tule listens on: people's, and the one for functions."""

import contextlib
import socket

from tule.kernel.settings import Settings


class Sockets:
    """Bound before the store is opened: a port that is taken is found out while nothing has happened yet."""

    def __init__(self, settings: Settings) -> None:
        hosts = [settings.host] if settings.host else ["127.0.0.1", "::1"]
        first = _bound(hosts[0], settings.port)
        self.port: int = first.getsockname()[1]
        self.public = [first]
        for host in hosts[1:]:
            with contextlib.suppress(OSError):  # a machine without IPv6 is served by IPv4 alone
                self.public.append(_bound(host, self.port))
        self.functions = _bound("127.0.0.1", 0)
        wild = settings.host in ("", "0.0.0.0", "::")  # noqa: S104 - compared, not bound
        name = "localhost" if wild else settings.host
        self.url = f"http://{f'[{name}]' if ':' in name else name}:{self.port}"
        self.functions_url = f"http://127.0.0.1:{self.functions.getsockname()[1]}"

    def close(self) -> None:
        for sock in (*self.public, self.functions):
            sock.close()


def _bound(host: str, port: int) -> socket.socket:
    sock = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if sock.family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        sock.bind((host, port))
    except BaseException:
        sock.close()
        raise
    return sock
