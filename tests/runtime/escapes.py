# ruff: noqa: E501 - handlers are programs of their own, in which a line is a thought
"""The escapes that the sandbox is tried with, declared once: tests/runtime/test_escapes.py runs them on every rung, and
the table of docs/reference/sandbox.md is made of them.

A handler gets what a stranger could know about its surroundings and answers "contained" or what it got hold of.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

FULL, NO_GROUPS, USER, LANDLOCK = "full", "full without cgroups", "ordinary user", "landlock"
RUNGS = (FULL, NO_GROUPS, USER, LANDLOCK)

HEAD = """
import ctypes, errno, json, os, signal, socket, struct, sys, threading, time
libc = ctypes.CDLL(None, use_errno=True)
TMP = os.environ.get("TMPDIR", "/tmp")

def got_hold(attempts):
    "What of (name, callable) did not fail."
    held = []
    for name, attempt in attempts:
        try:
            found = attempt()
        except (OSError, ValueError) as error:
            continue
        if found not in (None, False, -1):
            held.append(f"{name}: {str(found)[:60]}")
    return ", ".join(held) or "contained"

def syscall(number, *arguments):
    "Whether a system call does anything but fail for lack of permission."
    result = libc.syscall(number, *arguments)
    return False if result == -1 and ctypes.get_errno() in (errno.EPERM, errno.ENOSYS, errno.EACCES) else ctypes.get_errno() or "ok"
"""


@dataclass(frozen=True, slots=True)
class Escape:
    """One way out, tried."""

    title: str
    source: str
    """The rest of the module: `handler(event, context)`."""
    answers: tuple[str, ...] = ("contained",)
    """What the invocation gives where it is contained: the handler's answer or AWS's errorType."""
    open_on: Mapping[str, str] = field(default_factory=dict)
    """Rungs that do not contain it, and what holds there nevertheless."""
    fields: Mapping[str, Any] = field(default_factory=dict)
    by: str = ""
    """What contains it, for readers."""


ESCAPES = (
    Escape(
        "Read the host's files: Tule's store and token, home directories, other functions' code",
        """
def handler(event, context):
    paths = [*event["secrets"], "/etc/shadow", "/root/.bashrc", "/home", "/tule/packages", "/tule/cgroup", "/sys/fs/cgroup"]
    def read(path):
        return os.listdir(path) if os.path.isdir(path) else open(path, "rb").read(20)
    return got_hold((path, lambda path=path: read(path)) for path in paths)
""",
        by="own tree; Landlock",
    ),
    Escape(
        "Change the system's files or its own code",
        """
def handler(event, context):
    def write(path):
        with open(path, "w") as file: file.write("x")
        return "written"
    root = os.environ["LAMBDA_TASK_ROOT"]
    places = ["/usr/x", "/etc/x", "/var/x", "/opt/x", "/x", root + "/x", root + "/app.py", "/proc/sys/kernel/hostname"]
    return got_hold((place, lambda place=place: write(place)) for place in places)
""",
        by="read-only tree; Landlock",
    ),
    Escape(
        "Read another function's /tmp",
        """
def handler(event, context):
    paths = [event["neighbour"]["file"], TMP + "/secret", "/proc/1/root/tmp/secret"]
    return got_hold((path, lambda path=path: open(path).read()) for path in paths)
""",
        by="own /tmp; Landlock",
    ),
    Escape(
        "See other processes",
        """
def handler(event, context):
    own = os.getpid()
    others = [pid for pid in os.listdir("/proc") if pid.isdigit() and int(pid) not in (1, own)]
    return "contained" if not others else f"{len(others)} processes"
""",
        open_on={LANDLOCK: "their numbers and names are seen; their memory, environment and files are not"},
        by="own pid namespace",
    ),
    Escape(
        "Read other processes' environment, memory and open files",
        """
def handler(event, context):
    own = str(os.getpid())
    pids = [pid for pid in os.listdir("/proc") if pid.isdigit() and pid != own]
    what = ("environ", "maps", "mem", "fd/0", "root")
    def read(path):
        if path.endswith("/root"): return os.listdir(path)
        if path.endswith("/fd/0"): return os.readlink(path)
        return open(path, "rb").read(10) or None
    return got_hold((f"{pid}/{name}", lambda p=f"/proc/{pid}/{name}": read(p)) for pid in pids for name in what)
""",
        by="own pid namespace; own user; Landlock",
    ),
    Escape(
        "Trace another process (ptrace, process_vm_readv, pidfd_getfd)",
        """
def handler(event, context):
    pid = event["neighbour"]["pid"]
    x86 = os.uname().machine == "x86_64"
    buffer = ctypes.create_string_buffer(8)
    return got_hold([
        ("attach", lambda: syscall(101 if x86 else 117, 16, pid, 0, 0)),
        ("trace me", lambda: syscall(101 if x86 else 117, 0, 0, 0, 0)),
        ("read", lambda: syscall(310 if x86 else 270, pid, buffer, 1, buffer, 1, 0)),
        ("pidfd_getfd", lambda: syscall(438, 0, 0, 0)),
    ])
""",
        by="system call filter",
    ),
    Escape(
        "Signal other processes",
        """
def handler(event, context):
    def signalled(pid):
        os.kill(pid, 0)
        return "could signal"
    return got_hold([("neighbour", lambda: signalled(event["neighbour"]["pid"])), ("Tule", lambda: signalled(event["tule"]))])
""",
        by="own pid namespace; Landlock from version 6 on",
    ),
    Escape(
        "Mount, or make namespaces to mount in",
        """
def handler(event, context):
    x86 = os.uname().machine == "x86_64"
    return got_hold([
        ("mount", lambda: syscall(165 if x86 else 40, b"x", b"/tmp", b"tmpfs", 0, None)),
        ("umount", lambda: syscall(166 if x86 else 39, b"/var/task", 2)),
        ("unshare", lambda: syscall(272 if x86 else 97, 0x10020000)),
        ("setns", lambda: syscall(308 if x86 else 268, 0, 0)),
        ("clone", lambda: syscall(56 if x86 else 220, 0x10000000 | 17, 0, 0, 0, 0)),
        ("clone3", lambda: syscall(435, 0, 0)),
        ("pivot_root", lambda: syscall(155 if x86 else 41, b".", b".")),
        ("chroot", lambda: syscall(161 if x86 else 51, b"/tmp")),
        ("open_tree", lambda: syscall(428, -100, b"/", 1)),
        ("fsopen", lambda: syscall(430, b"tmpfs", 0)),
    ])
""",
        by="system call filter; no capabilities",
    ),
    Escape(
        "Open raw, packet, netlink audit or VM sockets",
        """
def handler(event, context):
    def opened(*arguments):
        socket.socket(*arguments).close()
        return "opened"
    kinds = [(socket.AF_INET, socket.SOCK_RAW, 1), (17, socket.SOCK_RAW, 768), (16, socket.SOCK_RAW, 9), (40, socket.SOCK_STREAM, 0), (38, 5, 0)]
    return got_hold((str(kind), lambda kind=kind: opened(*kind)) for kind in kinds)
""",
        by="system call filter; no capabilities",
    ),
    Escape(
        "Use the kernel's keyrings",
        """
def handler(event, context):
    x86 = os.uname().machine == "x86_64"
    held = got_hold([
        ("keyctl", lambda: syscall(250 if x86 else 219, 0, -3, 0)),
        ("add_key", lambda: syscall(248 if x86 else 217, b"user", b"x", b"y", 1, -3)),
        ("request_key", lambda: syscall(249 if x86 else 218, b"user", b"x", None, -3)),
    ])
    return held
""",
        by="system call filter; a session keyring of its own",
    ),
    Escape(
        "Reach the kernel by io_uring, bpf, perf, userfaultfd, module or kexec calls",
        """
def handler(event, context):
    x86 = os.uname().machine == "x86_64"
    numbers = {"io_uring": 425, "bpf": 321 if x86 else 280, "perf": 298 if x86 else 241, "userfaultfd": 323 if x86 else 282,
               "init_module": 175 if x86 else 105, "kexec": 246 if x86 else 104, "handle": 304 if x86 else 265, "reboot": 169 if x86 else 142}
    return got_hold((name, lambda number=number: syscall(number, 0, 0, 0, 0, 0)) for name, number in numbers.items())
""",
        by="system call filter",
    ),
    Escape(
        "Change the host: clock, name, personality",
        """
def handler(event, context):
    x86 = os.uname().machine == "x86_64"
    return got_hold([
        ("clock", lambda: syscall(227 if x86 else 112, 0, struct.pack("qq", 1, 1))),
        ("name", lambda: syscall(170 if x86 else 161, b"x", 1)),
        ("personality", lambda: syscall(135 if x86 else 92, 0x0040000)),
    ])
""",
        by="system call filter; no capabilities",
    ),
    Escape(
        "Fork bomb",
        """
def handler(event, context):
    made = []
    try:
        while len(made) < 1100:
            pid = os.fork()
            if pid == 0:
                signal.pause()
                os._exit(0)
            made.append(pid)
    except OSError as error:
        return "contained" if error.errno == errno.EAGAIN else str(error)
    finally:
        for pid in made: os.kill(pid, signal.SIGKILL)
        for pid in made: os.waitpid(pid, 0)
    return f"{len(made)} processes"
""",
        fields={"memory_mb": 3008, "timeout_s": 60},
        open_on={LANDLOCK: "as root nothing counts them; an ordinary user's are counted together"},
        by="pids limit and RLIMIT_NPROC, 1,024",
    ),
    Escape(
        "Memory bomb",
        """
def handler(event, context):
    kept = []
    for _ in range(60):
        kept.append(bytearray(64 << 20))
    return "4 GB"
""",
        ("Runtime.ExitError", "MemoryError"),
        fields={"memory_mb": 256, "timeout_s": 30},
        by="memory group; else a look ten times a second and RLIMIT_DATA",
    ),
    Escape(
        "Fill the disk",
        """
def handler(event, context):
    for number in range(4):
        try:
            fd = os.open(f"{TMP}/{number}", os.O_CREAT | os.O_WRONLY)
            os.posix_fallocate(fd, 0, 200 << 20)
            os.close(fd)
        except OSError as error:
            return "contained" if error.errno == errno.ENOSPC else str(error)
    return "800 MB of 512"
""",
        fields={"memory_mb": 1024},
        open_on={LANDLOCK: "each file is limited to the function's storage, their number is not"},
        by="/tmp of its own size",
    ),
    Escape(
        "Use up descriptors",
        """
def handler(event, context):
    made = []
    try:
        while len(made) < 5000: made.append(os.open("/dev/null", os.O_RDONLY))
    except OSError as error:
        return "contained" if error.errno == errno.EMFILE and len(made) < 1024 else str(error)
    finally:
        for fd in made: os.close(fd)
    return f"{len(made)} descriptors"
""",
        by="RLIMIT_NOFILE, 1,024",
    ),
    Escape(
        "Ignore SIGTERM and go on for ever",
        """
def handler(event, context):
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP): signal.signal(number, signal.SIG_IGN)
    if os.fork() == 0:
        os.setsid()
        while True: time.sleep(1)
    while True: time.sleep(1)
""",
        ("Sandbox.Timedout",),
        fields={"timeout_s": 1},
        by="SIGKILL to all of the instance's processes",
    ),
    Escape(
        "Write to the invoke socket out of turn",
        """
def handler(event, context):
    for fd in range(3, 64):
        try:
            sock = socket.socket(fileno=os.dup(fd))
            sock.send(b"\\xff" * 4096)
        except OSError:
            continue
    while True: time.sleep(1)
""",
        ("Runtime.ExitError",),
        by="a broken frame ends the instance",
    ),
    Escape(
        "Hang up on Tule and go on",
        """
def handler(event, context):
    if event == "again": os._exit(1)
    os.closerange(0, 64)
    while True: time.sleep(1)
""",
        ("Runtime.ExitError",),
        by="whoever hangs up is killed with all its processes",
    ),
    Escape(
        "Connect to the admin API, to services of the host's loopback, to clouds' metadata",
        """
def handler(event, context):
    def connected(address):
        with socket.create_connection(address, timeout=3) as connection:
            connection.settimeout(3)
            connection.sendall(b"GET / HTTP/1.0\\r\\n\\r\\n")
            return connection.recv(100) or None
    places = [("127.0.0.1", event["port"]), (event["address"], event["port"]), ("169.254.169.254", 80), ("0.0.0.0", event["port"])]
    return got_hold((str(place), lambda place=tuple(place): connected(place)) for place in places)
""",
        open_on={LANDLOCK: "the host's network is shared: the admin API refuses whoever lacks its token"},
        by="own network namespace; the forwarder's rules",
    ),
    Escape(
        "Connect to Unix sockets of the host, named and abstract",
        """
def handler(event, context):
    def connected(path):
        with socket.socket(socket.AF_UNIX) as sock:
            sock.connect(path)
            return "connected"
    return got_hold([("abstract", lambda: connected("\\0" + event["abstract"])), ("named", lambda: connected(event["named"]))])
""",
        open_on={LANDLOCK: "abstract ones are out of reach, named ones are what their mode lets Tule's user do"},
        by="own network namespace and tree; Landlock from version 6 on",
    ),
    Escape(
        "Gain privileges by a setuid program",
        """
def handler(event, context):
    import subprocess
    done = subprocess.run(["su", "-c", "id -u", "root"], stdin=subprocess.DEVNULL, capture_output=True)
    status = open("/proc/self/status").read()
    caps = [line for line in status.splitlines() if line.startswith(("CapEff", "CapPrm", "CapInh", "CapAmb")) and line.split()[1].strip("0")]
    return "contained" if done.returncode and not caps and "NoNewPrivs:\\t1" in status else f"{done.stdout!r} {caps}"
""",
        by="no-new-privileges; no capabilities; nosuid mounts",
    ),
    Escape(
        "Print 100 MB in one invocation",
        """
def handler(event, context):
    line = "x" * (1 << 20)
    for _ in range(100): print(line)
    return "contained"
""",
        fields={"memory_mb": 1769, "timeout_s": 60},
        by="the log is read as it comes, bounded, and shed before anything else is",
    ),
)


def table() -> str:
    """What is contained where, for docs/reference/sandbox.md."""
    lines = ["| attempt | " + " | ".join(RUNGS) + " | contained by |", "|---|" + "---|" * (len(RUNGS) + 1)]
    for escape in ESCAPES:
        cells = [f"no: {escape.open_on[rung]}" if rung in escape.open_on else "yes" for rung in RUNGS]
        lines.append(f"| {escape.title} | {' | '.join(cells)} | {escape.by} |")
    return "\n".join(lines)


if __name__ == "__main__":
    from pathlib import Path

    page = Path(__file__).parents[2] / "docs/reference/sandbox.md"
    before, _, rest = page.read_text().partition("<!-- table -->\n")
    page.write_text(f"{before}<!-- table -->\n{table()}\n<!-- end -->{rest.partition('<!-- end -->')[2]}")
