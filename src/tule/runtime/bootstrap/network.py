"""The network of one instance: a loopback of its own, and what of it leads to the forwarder.

Netlink by hand, since no machine must have `ip` or `nft` for this. In a fresh network namespace every TCP connection
to an address beyond it is turned round, by one rule, to the forwarder's socket in the namespace; so is DNS.
"""

import os
import socket
import struct
from collections.abc import Sequence

TURNED_PORT = 1
"""Where the forwarder listens in each namespace: a port that no function can take, as it is below 1024."""

OWN_ADDRESS = "169.254.76.1"
"""An instance's own address, from which its connections seem to come."""

IFF_UP = 1
LOOPBACK = 1
"""The first interface of a namespace."""

RTM_NEWLINK, RTM_NEWADDR, RTM_NEWROUTE = 16, 20, 24
NLM_REQUEST, NLM_ACK, NLM_CREATE = 0x1, 0x4, 0x400
NETLINK_ROUTE, NETLINK_NETFILTER = 0, 12

NFT, BATCH_BEGIN, BATCH_END = 10 << 8, 0x10, 0x11
NEW_TABLE, NEW_CHAIN, NEW_RULE = NFT | 0, NFT | 3, NFT | 6
IPV4 = 2
HOOK_OUT, PRIORITY_DNAT = 3, -100
NESTED = 0x8000
EQUAL, OTHER_THAN = 0, 1
NETWORK_HEADER, TRANSPORT_HEADER = 1, 2
META_PROTOCOL = 16
TCP, UDP = 6, 17

Address = Sequence[object]
"""("tcp" or "udp", host, port)"""


def open_outward() -> None:
    """Bring the loopback interface up, let connections to anywhere begin there, and end at the forwarder's socket."""
    own = socket.inet_aton(OWN_ADDRESS)
    link = struct.pack("=BBHiII", 0, 0, 0, LOOPBACK, IFF_UP, IFF_UP)
    address = struct.pack("=BBBBi", IPV4, 32, 0, 0, LOOPBACK) + _attribute(2, own) + _attribute(1, own)
    route = struct.pack("=BBBBBBBBI", IPV4, 0, 0, 0, 254, 4, 0, 1, 0)
    route += _attribute(4, struct.pack("=i", LOOPBACK)) + _attribute(7, own)
    steps = [(RTM_NEWLINK, 0, link), (RTM_NEWADDR, NLM_CREATE, address), (RTM_NEWROUTE, NLM_CREATE, route)]
    _netlink(NETLINK_ROUTE, steps)
    not_here = [
        _payload(NETWORK_HEADER, 16, 4), _mask(b"\xff\0\0\0"), _compare(OTHER_THAN, b"\x7f\0\0\0"),
    ]  # fmt: skip
    tcp = [*not_here, _meta(META_PROTOCOL), _compare(EQUAL, bytes([TCP])), *_turn()]
    dns = [
        *not_here, _meta(META_PROTOCOL), _compare(EQUAL, bytes([UDP])),
        _payload(TRANSPORT_HEADER, 2, 2), _compare(EQUAL, struct.pack(">H", 53)), *_turn(),
    ]  # fmt: skip
    table = _text(1, "tule")
    hook = _attribute(1, struct.pack(">I", HOOK_OUT)) + _attribute(2, struct.pack(">i", PRIORITY_DNAT))
    chain = _text(1, "tule") + _text(3, "out") + _attribute(4 | NESTED, hook) + _text(7, "nat")
    rules = [_text(1, "tule") + _text(2, "out") + _attribute(4 | NESTED, b"".join(steps)) for steps in (tcp, dns)]
    family = struct.pack(">BBH", IPV4, 0, 0)
    batch = struct.pack(">BBH", 0, 0, 10)
    _netlink(
        NETLINK_NETFILTER,
        [
            (BATCH_BEGIN, 0, batch),
            (NEW_TABLE, NLM_CREATE, family + table),
            (NEW_CHAIN, NLM_CREATE, family + chain),
            *[(NEW_RULE, NLM_CREATE | 0x800, family + rule) for rule in rules],
            (BATCH_END, 0, batch),
        ],
    )


def listen(kind: str, host: str, port: int) -> socket.socket:
    """A bound socket of the namespace that the caller is in."""
    sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM if kind == "tcp" else socket.SOCK_DGRAM)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind((host, port))
        if kind == "tcp":
            sock.listen(256)
    except BaseException:
        sock.close()
        raise
    return sock


# -- netlink


def _netlink(protocol: int, messages: Sequence[tuple[int, int, bytes]]) -> None:
    """Send messages at once and wait until each is acknowledged. Raises `OSError` with the kernel's answer."""
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, protocol) as sock:
        data, awaited = b"", 0
        for number, (kind, flags, body) in enumerate(messages, 1):
            acknowledged = kind not in {BATCH_BEGIN, BATCH_END}
            awaited += acknowledged
            marks = flags | NLM_REQUEST | (NLM_ACK if acknowledged else 0)
            data += struct.pack("=IHHII", 16 + len(body), kind, marks, number, 0) + body
        sock.send(data)
        while awaited:
            answer = sock.recv(1 << 16)
            while answer:
                (length, kind) = struct.unpack_from("=IH", answer)
                (code,) = struct.unpack_from("=i", answer, 16)
                if kind == 2:
                    if code:
                        raise OSError(-code, f"netlink: {os.strerror(-code)}")
                    awaited -= 1
                answer = answer[(length + 3) & ~3 :]


def _attribute(kind: int, data: bytes) -> bytes:
    return struct.pack("=HH", 4 + len(data), kind) + data + bytes(-len(data) % 4)


def _text(kind: int, text: str) -> bytes:
    return _attribute(kind, text.encode() + b"\0")


def _number(kind: int, value: int) -> bytes:
    return _attribute(kind, struct.pack(">I", value))


def _expression(name: str, *attributes: bytes) -> bytes:
    body = _text(1, name) + _attribute(2 | NESTED, b"".join(attributes))
    return _attribute(1 | NESTED, body)


def _value(kind: int, value: bytes) -> bytes:
    return _attribute(kind | NESTED, _attribute(1, value))


def _payload(base: int, offset: int, length: int) -> bytes:
    return _expression("payload", _number(1, 1), _number(2, base), _number(3, offset), _number(4, length))


def _mask(mask: bytes) -> bytes:
    return _expression(
        "bitwise", _number(1, 1), _number(2, 1), _number(3, len(mask)), _value(4, mask), _value(5, bytes(len(mask)))
    )


def _compare(how: int, value: bytes) -> bytes:
    return _expression("cmp", _number(1, 1), _number(2, how), _value(3, value))


def _meta(key: int) -> bytes:
    return _expression("meta", _number(1, 1), _number(2, key))


def _turn() -> list[bytes]:
    return [
        _expression("immediate", _number(1, 1), _value(2, struct.pack(">H", TURNED_PORT))),
        _expression("redir", _number(1, 1)),
    ]
