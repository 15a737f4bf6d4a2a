"""A process in the network of one instance that makes connections there, and hands them to Tule.

Run as `python -I -S dialer.py DESCRIPTOR PIDFD RUNNER PORT` with a sequenced-packet socket and a descriptor of a
process in that network; RUNNER is the process whose user namespace must be joined first, 0 for root. Each packet asks
for one connection to 127.0.0.1:PORT; the answer carries it, or nothing while nobody listens there.
"""

import ctypes
import os
import socket
import sys

CLONE_NEWUSER, CLONE_NEWNET = 0x10000000, 0x40000000


def join(fd: int, kind: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.setns(fd, kind) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def main() -> None:
    fd, pidfd, runner, port = map(int, sys.argv[1:5])
    orders = socket.socket(fileno=fd)
    if runner:
        user = os.open(f"/proc/{runner}/ns/user", os.O_RDONLY)
        join(user, CLONE_NEWUSER)
        os.close(user)
    join(pidfd, CLONE_NEWNET)
    os.close(pidfd)
    while orders.recv(16):
        with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as sock:
            try:
                sock.connect(("127.0.0.1", port))
            except OSError:
                orders.send(b"n")
            else:
                socket.send_fds(orders, [b"y"], [sock.fileno()])


if __name__ == "__main__":
    main()
