"""`tule-runner`: the process under which every function runs. Started by `tule.runtime.runner_link` alone.

It owns the zygotes, passes Tule's wishes on to them, makes and removes what instances need on the host, ends strays,
and goes when Tule goes. As the first process of a pid namespace it takes everything below it along, whatever ends it.
"""

import json
import os
import select
import signal
import socket
import sys
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Final, NoReturn

from tule.runtime import memory
from tule.runtime.bootstrap import confinement, landlock, namespaces, network, seccomp, tree
from tule.runtime.groups import Groups, sweep

MESSAGE_MAX: Final = 256 * 1024
FDS_MAX: Final = 4
FIRST_UID: Final = 200_000
EGRESS_UID: Final = FIRST_UID - 1
UIDS: Final = 60_000
"""Users of instances, as root: no distribution hands these numbers to people."""

WATCH_EVERY_S: Final = 0.1
"""How often memory is looked at where no memory group does it (ours)."""

SESSION_NICENESS: Final = "10"
"""What weighs about as much as eight processes of niceness 19."""

BOOTSTRAP: Final = str(Path(confinement.__file__).parent)
IN_TREE: Final = "/var/runtime/bootstrap"

CONFIGURATION: Final = (
    "alternatives", "ca-certificates", "ca-certificates.conf", "fonts", "gai.conf", "group", "host.conf", "hosts",
    "ld.so.cache", "ld.so.conf", "ld.so.conf.d", "localtime", "mime.types", "nsswitch.conf", "os-release", "passwd",
    "pki", "protocols", "python3", "resolv.conf", "services", "ssl", "timezone",
)  # fmt: skip
"""What programs read of /etc. The rest of it is the host's own business: passwords, keys, other services' settings."""

READABLE: Final = (
    "/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/proc", *(f"/etc/{name}" for name in CONFIGURATION),
    "/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom",
)  # fmt: skip


class Zygote:
    """One zygote and the socket to it."""

    def __init__(self, key: str, pid: int, sock: socket.socket) -> None:
        self.key = key
        self.pid = pid
        self.sock = sock


class Runner:
    """The loop: it blocks in `select` alone."""

    def __init__(self, sock: socket.socket, settings: dict[str, Any]) -> None:
        self._sock = sock
        self._settings = settings
        self._zygotes: dict[str, Zygote] = {}
        self._pids: dict[str, int] = {}
        self._home_of: dict[str, str] = {}
        self._watched: dict[str, int] = {}
        self._unweighed: list[str] = []
        self._weighed: dict[str, int] = {}
        self._next_uid = 0
        self._mount_point = tempfile.mkdtemp(prefix="tree-", dir=settings["scratch"])
        self.tree = bool(settings["tree"])
        self.groups: Groups = settings.pop("groups")
        if "cpu" not in self.groups.controllers:
            _weigh_little()
        self._egress: tuple[int, socket.socket] | None = None
        self._wakeup, woken = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.set_wakeup_fd(woken, warn_on_full_buffer=False)

    def run(self) -> None:
        """Serve until Tule hangs up."""
        if self._settings["network"]:
            self._start_egress()
        self.say(
            {
                "hello": os.getpid(), "tree": self.tree, "root": bool(self._settings["root"]),
                "network": bool(self._settings["network"]), "groups": self.groups.version,
                "controllers": self.groups.controllers, "landlock": landlock.version(), "seccomp": seccomp.known(),
            }
        )  # fmt: skip
        while True:
            socks = [zygote.sock for zygote in self._zygotes.values()]
            wait_s = WATCH_EVERY_S if self._watched else None
            if self._unweighed:
                wait_s = 0.0
            watched: list[Any] = [self._sock, self._wakeup, *socks]
            ready = select.select(watched, [], [], wait_s)[0]
            if self._wakeup in ready:
                os.read(self._wakeup, 4096)
                self._reap()
            if self._sock in ready and not self._obey():
                return
            for zygote in [entry for entry in self._zygotes.values() if entry.sock in ready]:
                self._hear(zygote)
            if self._watched:
                self._watch()
            if self._unweighed and not ready:
                self._weigh()

    def say(self, message: dict[str, Any], fds: Sequence[int] = ()) -> None:
        try:
            socket.send_fds(self._sock, [json.dumps(message).encode()], fds)
        except OSError:
            sys.exit(0)

    # -- what Tule asks for

    def _obey(self) -> bool:
        try:
            data, fds, _, _ = socket.recv_fds(self._sock, MESSAGE_MAX, FDS_MAX)
        except OSError:
            return False
        if not data:
            return False
        message = json.loads(data)
        try:
            self._act(message, fds)
        except OSError as error:
            self.say({"failed": message.get("id", message.get("key", "")), "why": str(error)})
        finally:
            for fd in fds:
                os.close(fd)
        return True

    def _act(self, message: dict[str, Any], fds: Sequence[int]) -> None:
        match message["do"]:
            case "zygote":
                self._start_zygote(message)
            case "memory":
                self._weigh_soon()
            case "watch":
                if not self.groups.has(message["id"]):
                    self._watched[message["id"]] = int(message["mb"]) * 1024
            case "limit":
                self._limit(message["id"], int(message["mb"]))
            case "rest":
                self._rest(message["zygote"])
            case "kill":
                self._pass_on(self._home_of.get(message["id"], ""), message, ())
            case "park" | "supervise" | "snapshot" | "restore" | "program" | "settle":
                self._instance(message, fds)

    def _instance(self, message: dict[str, Any], fds: Sequence[int]) -> None:
        if message["do"] != "settle":
            self._next_uid += 1
            message["uid"] = FIRST_UID + self._next_uid % UIDS if self._settings["root"] and self.tree else 0
            if message.get("group", True):
                self.groups.make(message["id"])
            self._home_of[message["id"]] = message["zygote"]
        if not self._pass_on(message["zygote"], message, fds):
            self._orphaned(message["id"])

    def _limit(self, name: str, memory_mb: int) -> None:
        """The init phase is over: from here on its part of the cores. Whoever came without groups gets them now, when
        nobody waits for it."""
        pid = self._pids.get(name)
        if not self.groups.folders or pid is None:
            return
        if not self.groups.has(name):
            self.groups.make(name)
            self.groups.attach(name, [pid, *memory.descendants(pid)], memory_mb)
            self._watched.pop(name, None)
        self.groups.limit_cpu(name, memory_mb)

    def _start_egress(self) -> None:
        """The process that carries what functions send: on the host's network, with no privileges."""
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        settings = {
            "parent": os.getpid(), "uid": EGRESS_UID if self._settings["root"] else 0,
            "public_port": self._settings["public_port"], "functions_port": self._settings["functions_port"],
        }  # fmt: skip
        argv = [sys.executable, "-P", "-m", "tule.runtime.egress", str(theirs.fileno()), json.dumps(settings)]
        pid = os.fork()
        if pid == 0:
            try:
                signal.set_wakeup_fd(-1)
                signal.signal(signal.SIGCHLD, signal.SIG_DFL)
                theirs.set_inheritable(True)
                os.execve(argv[0], argv, {"PATH": os.defpath, "LANG": "C.UTF-8", "HOME": "/"})  # noqa: S606 - no shell is wanted
            finally:
                os._exit(71)
        theirs.close()
        self._egress = (pid, ours)

    def _pass_on(self, key: str, message: dict[str, Any], fds: Sequence[int]) -> bool:
        zygote = self._zygotes.get(key)
        if zygote is None:
            return False
        try:
            socket.send_fds(zygote.sock, [json.dumps(message).encode()], list(fds))
        except OSError:
            return False
        return True

    # -- zygotes

    def _start_zygote(self, message: dict[str, Any]) -> None:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        parent = os.getpid()
        settings = {
            "fd": theirs.fileno(),
            "parent": parent,
            "tree": self.tree,
            "groups": self.groups.told,
            "landlock": bool(landlock.version()),
            "seccomp": seccomp.known(),
            "egress": self._egress[1].fileno() if self._egress else -1,
            "reach": self._settings["reach"],
            "sdk": message["sdk"],
            "preload": message["preload"],
            "readable": [*READABLE, *message["readable"]],
            "scratch": self._settings["scratch"],
        }
        bootstrap = IN_TREE if self.tree else BOOTSTRAP
        argv = [message["python"], "-I", "-S", f"{bootstrap}/zygote.py", json.dumps(settings)]
        environment = {"PATH": os.defpath, "LANG": "C.UTF-8", "TZ": ":UTC"}
        pid = os.fork()
        if pid == 0:
            self._become_zygote(message, argv, environment, theirs)
        theirs.close()
        self._zygotes[message["key"]] = Zygote(message["key"], pid, ours)

    def _become_zygote(
        self, message: dict[str, Any], argv: list[str], environment: dict[str, str], sock: socket.socket
    ) -> None:
        try:
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            if self.tree:
                shown = [(BOOTSTRAP, IN_TREE, False), (self._settings["packages"], "/tule/packages", False)]
                shown += self.groups.shown
                shown += [(source, target, False) for source, target in message["shown"]]
                namespaces.unshare(namespaces.CLONE_NEWNS)
                tree.enter(self._mount_point, shown)
            sock.set_inheritable(True)
            if self._egress:
                self._egress[1].set_inheritable(True)
            os.execve(argv[0], argv, environment)  # noqa: S606 - no shell is wanted
        except BaseException as error:  # noqa: BLE001 - a child must not go on as its parent
            sys.stderr.write(f"Zygote {message['key']} did not start: {error}\n")
        finally:
            os._exit(71)

    def _hear(self, zygote: Zygote) -> None:
        """Keep book of a zygote's news and hand them on."""
        fds: list[int] = []
        try:
            data, fds, _, _ = socket.recv_fds(zygote.sock, MESSAGE_MAX, 1)
        except OSError:
            data = b""
        if not data:
            self._lost(zygote)
            return
        message = json.loads(data)
        if "ready" in message:
            message["ready"] = zygote.key
        elif "started" in message:
            self._pids[message["started"]] = message["pid"]
        elif "ended" in message:
            self._forget(message["ended"])
        self.say(message, fds)
        for fd in fds:
            os.close(fd)

    def _rest(self, key: str) -> None:
        """Nobody needs a zygote any more: it ends when it is hung up on."""
        zygote = self._zygotes.get(key)
        if zygote is not None:
            zygote.sock.shutdown(socket.SHUT_WR)

    def _lost(self, zygote: Zygote) -> None:
        """A zygote ended, and the kernel ended its instances with it."""
        zygote.sock.close()
        del self._zygotes[zygote.key]
        for name in [name for name, key in self._home_of.items() if key == zygote.key]:
            self._orphaned(name)
        self.say({"lost": zygote.key})

    def _orphaned(self, name: str) -> None:
        """The instance ended by no doing of its own: its zygote is gone."""
        self._forget(name)
        self.say({"ended": name, "code": -signal.SIGKILL, "orphaned": True})

    # -- tidiness

    def _forget(self, name: str) -> None:
        """Remove what an instance had on the host, and what it left running."""
        self._pids.pop(name, None)
        self._home_of.pop(name, None)
        self._watched.pop(name, None)
        self.groups.end(name)
        if not self.tree:
            import shutil

            shutil.rmtree(Path(self._settings["scratch"]) / name, ignore_errors=True)
        self._reap()

    def _reap(self) -> None:
        """Strays become this process's children when their instance ends: end them, and collect the dead."""
        known = {zygote.pid for zygote in self._zygotes.values()}
        if self._egress:
            known.add(self._egress[0])
        for pid in memory.children(os.getpid()):
            if pid not in known:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
        with suppress(ChildProcessError):
            while ended := os.waitpid(-1, os.WNOHANG)[0]:
                if self._egress and ended == self._egress[0]:
                    sys.exit("The process that carries what functions send has ended.")

    def _weigh_soon(self) -> None:
        if not self._unweighed:
            self._unweighed = list(self._pids)
            self._weighed = {}
        if not self._unweighed:
            self.say({"memory": {}})

    def _weigh(self) -> None:
        """Look at the memory of one instance: that takes a millisecond or three, and a start must not wait for those of
        all others."""
        name = self._unweighed.pop()
        if name in self._pids:
            self._weighed[name] = memory.pss_kb(self._pids[name])
        if not self._unweighed:
            self.say({"memory": self._weighed})

    def _watch(self) -> None:
        """End what has grown beyond its memory, as the kernel would."""
        for name, limit_kb in list(self._watched.items()):
            pid = self._pids.get(name)
            if pid is not None and memory.rss_kb(pid) > limit_kb:
                self._pass_on(self._home_of[name], {"do": "kill", "id": name}, ())


def _enter_namespaces(groups: Groups) -> None:
    """Go on as the first process of namespaces of our own, while this one waits for it and tidies up after it."""
    namespaces.own_processes()
    outer = os.getpid()
    pid = os.fork()
    if pid:
        _wait_for(pid, groups)
    confinement.die_with_parent(outer)
    tree.mount("", "/", "", tree.MS_REC | tree.MS_PRIVATE)
    tree.mount("proc", "/proc", "proc", tree.MS_NOSUID | tree.MS_NODEV | tree.MS_NOEXEC)


def _wait_for(pid: int, groups: Groups) -> NoReturn:
    """Outlive Tule for a moment: the kernel ends every process of ours, but removes no group."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, lambda *_: _kill(pid))
    confinement.prctl(confinement.PR_SET_PDEATHSIG, signal.SIGTERM)
    os.closerange(3, 64)
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    groups.remove()
    os._exit(abs(code))


def _kill(pid: int) -> None:
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)


def _weigh_little() -> None:
    """Where the kernel shares the cores by session first ("autogroup"), niceness counts within one session alone: give
    ours, in which all functions run, less weight than Tule's."""
    with suppress(OSError):
        Path("/proc/self/autogroup").write_text(SESSION_NICENESS, "ascii")


def probe(scratch: str) -> int:
    """What this machine offers, tried out in a child: 0 no namespaces, 1 those but for the network, 2 all."""
    folder = tempfile.mkdtemp(prefix="probe-", dir=scratch)

    def own_tree() -> None:
        namespaces.unshare(namespaces.CLONE_NEWNS | namespaces.CLONE_NEWIPC | namespaces.CLONE_NEWUTS)
        tree.enter(folder, ())

    def own_network() -> None:
        namespaces.unshare(namespaces.CLONE_NEWNET)
        network.open_outward()

    try:
        return namespaces.probe(own_tree, own_network)
    finally:
        Path(folder).rmdir()


def main() -> None:
    """`python -m tule.runtime.runner DESCRIPTOR SETTINGS`."""
    sock = socket.socket(fileno=int(sys.argv[1]))
    settings = json.loads(sys.argv[2])
    settings |= {"root": os.geteuid() == 0, "tree": False, "network": False, "groups": Groups()}
    confinement.die_with_parent(settings["parent"])
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if sys.platform == "linux":
        confinement.prctl(confinement.PR_SET_CHILD_SUBREAPER, 1)
        sweep()
        offered = 0 if settings.get("bare") else probe(settings["scratch"])
        settings |= {"tree": offered > 0, "network": offered > 1}
        if settings["tree"]:
            settings["groups"] = Groups.find(f"tule-{os.getpid()}-{settings['parent']}")
            _enter_namespaces(settings["groups"])
    Runner(sock, settings).run()


if __name__ == "__main__":
    main()
