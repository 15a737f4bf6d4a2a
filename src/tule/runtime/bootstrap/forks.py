# A zygote holds few modules, so os and open do what pathlib does elsewhere; strangers' code raises anything.
"""The zygote's side of snapshots: passes on the wish for a fork, and keeps book of what came of it."""

import json
import os
import signal
import socket
import struct
from collections.abc import Sequence
from typing import Any

MESSAGE_MAX = 64 * 1024


class Forks:
    """The origins below one zygote, and the instances that came of them. What they say is strangers' word: whose
    process an instance is, the kernel tells."""

    def __init__(self, zygote: Any) -> None:
        self._zygote = zygote
        self._socks: dict[socket.socket, str] = {}
        self._waiting: dict[str, dict[str, Any]] = {}
        """Instances that were ordered and have not reported."""
        self._pids: dict[str, tuple[str, int, int]] = {}
        """(origin, pid, a descriptor of that process) by instance."""
        self._killed: set[str] = set()

    def open(self, name: str) -> int:
        """The end for a new origin of the socket that it takes orders from."""
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        ours.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
        self._socks[ours] = name
        self._zygote.watched.append(ours)
        return theirs.detach()

    def order(self, message: dict[str, Any], fds: Sequence[int]) -> None:
        """Have an origin fork."""
        for sock, name in self._socks.items():
            if name == message["snapshot"]:
                self._waiting[message["id"]] = message
                try:
                    socket.send_fds(sock, [json.dumps(message).encode()], list(fds))
                except OSError:
                    break
                return
        self._waiting.pop(message["id"], None)
        self._zygote.say({"ended": message["id"], "code": -signal.SIGKILL})

    def hear(self, ready: Sequence[Any]) -> None:
        """Take in what origins and their forks report."""
        for sock in [one for one in self._socks if one in ready]:
            size = socket.CMSG_SPACE(struct.calcsize("3i"))
            try:
                data, extra, _, _ = sock.recvmsg(MESSAGE_MAX, size)
            except OSError:
                data, extra = b"", []
            if not data:
                self._lost(sock)
                continue
            try:
                message = json.loads(data)
                restored, ended = str(message.get("restored", "")), str(message.get("ended", ""))
                code = int(message.get("code", 0))
            except (ValueError, TypeError, AttributeError, OverflowError, RecursionError):
                continue
            pid = _sender(extra)
            if pid and restored in self._waiting and self._of(restored) == self._socks[sock]:
                self._started(restored, pid)
            elif ended and self._of(ended) == self._socks[sock]:
                self._ended(ended, code)

    def _of(self, name: str) -> str:
        if name in self._waiting:
            return str(self._waiting[name]["snapshot"])
        return self._pids[name][0] if name in self._pids else ""

    def _started(self, name: str, pid: int) -> None:
        message = self._waiting.pop(name)
        try:
            self._pids[name] = (message["snapshot"], pid, os.pidfd_open(pid))
        except OSError:  # it has ended, and its origin is about to say so
            self._waiting[name] = message
            return
        if message.get("group", True):
            shape = {"groups": self._zygote.settings["groups"], "id": name}
            try:
                self._zygote.instance.join_groups(shape, pid)
                self._zygote.instance.memory_limit(shape, message["memory_mb"])
            except OSError:
                pass  # it has ended
        self._zygote.say_started(name, pid)
        if name in self._killed:
            self.kill(name)

    def _ended(self, name: str, code: int) -> None:
        self.kill(name)  # its own word is not enough
        self._killed.discard(name)
        self._waiting.pop(name, None)
        if name in self._pids:
            os.close(self._pids.pop(name)[2])
        self._zygote.say({"ended": name, "code": code})

    def _lost(self, sock: socket.socket) -> None:
        """An origin has ended, and the kernel ends its forks with it."""
        origin = self._socks.pop(sock)
        self._zygote.watched.remove(sock)
        sock.close()
        for name in [one for one in (*self._waiting, *self._pids) if self._of(one) == origin]:
            self._ended(name, -signal.SIGKILL)

    def kill(self, name: str) -> None:
        """End an instance, now or as soon as it reports; nothing for names of others."""
        if name in self._pids:
            _, pid, pidfd = self._pids[name]
            try:
                signal.pidfd_send_signal(
                    pidfd, signal.SIGKILL
                )  # fails if it has ended, and its number may be another's
                os.killpg(pid, signal.SIGKILL)
            except (ProcessLookupError, PermissionError):
                pass
        elif name in self._waiting:
            self._killed.add(name)


def _sender(extra: Sequence[tuple[int, int, bytes]]) -> int:
    """Whose message it is, by the kernel's word; 0 if it says nothing."""
    for level, kind, data in extra:
        if level == socket.SOL_SOCKET and kind == socket.SCM_CREDENTIALS:
            pid: int = struct.unpack("3i", data[:12])[0]
            return max(pid, 0)
    return 0
