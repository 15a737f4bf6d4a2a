"""Who is at the other end of a TCP connection on this machine: a question to the kernel, by its socket."""

import socket
import struct
from typing import Final

_NETLINK_SOCK_DIAG: Final = 4
_SOCK_DIAG_BY_FAMILY: Final = 20
_REQUEST: Final = 1
_TCP: Final = 6
_ALL_STATES: Final = 0xFFFFFFFF
_HEADER: Final = struct.Struct("=IHHII")
_QUERY: Final = struct.Struct("=BBBBI")
_ID: Final = struct.Struct("!HH16s16s")
_ANY_COOKIE: Final = struct.pack("=III", 0, 0xFFFFFFFF, 0xFFFFFFFF)
_UID_AT: Final = _HEADER.size + 4 + 48 + 12


def uid_of_peer(connection: socket.socket) -> int | None:
    """The user whose process holds the other end; None where the kernel doesn't say (another network, no Linux)."""
    here, there = connection.getsockname(), connection.getpeername()
    family = getattr(socket, "AF_NETLINK", None)
    if family is None or connection.family != socket.AF_INET:
        return None
    own = _ID.pack(there[1], here[1], socket.inet_aton(there[0]) + bytes(12), socket.inet_aton(here[0]) + bytes(12))
    query = _QUERY.pack(socket.AF_INET, _TCP, 0, 0, _ALL_STATES) + own + _ANY_COOKIE
    message = _HEADER.pack(_HEADER.size + len(query), _SOCK_DIAG_BY_FAMILY, _REQUEST, 1, 0) + query
    try:
        with socket.socket(family, socket.SOCK_RAW, _NETLINK_SOCK_DIAG) as kernel:
            kernel.settimeout(1.0)
            kernel.sendto(message, (0, 0))
            answer = kernel.recv(4096)
    except OSError:
        return None
    _, kind, *_ = _HEADER.unpack_from(answer)
    if kind != _SOCK_DIAG_BY_FAMILY or len(answer) < _UID_AT + 4:
        return None
    return int(struct.unpack_from("=I", answer, _UID_AT)[0])
