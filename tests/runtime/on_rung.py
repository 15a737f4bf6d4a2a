"""`python on_rung.py RUNG FOLDER`: a function runtime on one rung of the ladder, asked by JSON lines on stdin.

As root it makes surroundings of its own in which that rung is the best there is: nothing of the host's is changed.
"""

import asyncio
import json
import os
import resource
import socket
import sys
import threading
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))

from escapes import FULL, HEAD, LANDLOCK, USER

from conftest import Bench
from tule.runtime.bootstrap import namespaces, tree
from tule.runtime.reach import Reach, Sandbox

ORDINARY = 54_321
SECRET = "a neighbour's secret"
NEIGHBOUR = """
import os
def handler(event, context):
    path = os.environ.get("TMPDIR", "/tmp") + "/secret"
    open(path, "w").write(os.environ["SECRET"])
    return path
"""


def surroundings(rung: str) -> None:
    """Hide what a rung lacks, then be the user that it has."""
    if os.geteuid() != 0 or rung in {FULL, LANDLOCK}:
        return
    namespaces.unshare(namespaces.CLONE_NEWNS)
    tree.mount("", "/", "", tree.MS_REC | tree.MS_PRIVATE)
    tree.mount("none", "/sys/fs/cgroup", "tmpfs", 0, "mode=755")
    if rung == USER:
        show_interpreter()
        os.setgroups([])
        os.setresgid(ORDINARY, ORDINARY, ORDINARY)
        os.setresuid(ORDINARY, ORDINARY, ORDINARY)


def show_interpreter() -> None:
    """Let an ordinary user run this Python, also if it lies in a home directory that only its owner may enter."""
    prefix = Path(sys.base_prefix)
    closed = next((one for one in reversed(prefix.parents) if not one.stat().st_mode & 0o001), None)
    if closed is None:
        return
    held = os.open(prefix, os.O_PATH)
    tree.mount("none", str(closed), "tmpfs", 0, "mode=755")
    prefix.mkdir(parents=True)
    tree.bind(f"/proc/self/fd/{held}", str(prefix))
    os.close(held)


class Host:
    """What a function might get hold of: secrets, a listener in the place of the admin API, Unix sockets."""

    def __init__(self, folder: Path) -> None:
        self.secrets = [folder / "admin-token", folder / "data" / "store.db"]
        for secret in self.secrets:
            secret.parent.mkdir(exist_ok=True)
            secret.write_text("secret")
        self.tcp = socket.create_server(("0.0.0.0", 0))
        self.abstract = f"tule-test-{os.getpid()}"
        self.named = str(folder / "tule.sock")
        self._sockets = []
        for path in ("\0" + self.abstract, self.named):
            sock = socket.socket(socket.AF_UNIX)
            sock.bind(path)
            sock.listen()
            self._sockets.append(sock)
        threading.Thread(target=self._answer, daemon=True).start()

    def _answer(self) -> None:
        while True:
            connection, _ = self.tcp.accept()
            with connection:
                connection.sendall(b"HTTP/1.0 200 OK\r\n\r\nadmin")

    def known(self) -> dict[str, Any]:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            try:
                sock.connect(("192.0.2.1", 9))
                address = sock.getsockname()[0]
            except OSError:
                address = "127.0.0.1"
        return {
            "secrets": [str(secret) for secret in self.secrets], "port": self.tcp.getsockname()[1],
            "address": address, "abstract": self.abstract, "named": self.named, "tule": os.getpid(),
        }  # fmt: skip


class Attack:
    """Runs escapes, with a neighbour that has to keep answering."""

    def __init__(self, rung: str, folder: Path) -> None:
        self.host = Host(folder)
        known = self.host.known()
        sandbox = Sandbox(Reach(public_port=known["port"]))
        self.bench = Bench(folder, bare=rung == LANDLOCK, sandbox=sandbox)
        self.neighbour = self.bench.version(
            {"app.py": NEIGHBOUR}, name="neighbour", memory_mb=1769, environment={"SECRET": SECRET}, timeout_s=30
        )
        file = json.loads(self.bench.invoke(self.neighbour).payload)
        other = self.bench.package({"other.py": "theirs = 1"})
        pid = next(one.pid for one in self.bench.functions.instances() if one.function_arn.endswith("neighbour"))
        known["secrets"].append(self.bench.functions.packages.path(other))
        self.known = {**known, "neighbour": {"pid": pid, "file": file}}

    def run(self, title: str, source: str, fields: dict[str, Any]) -> dict[str, Any]:
        fields = {"memory_mb": 1769, "timeout_s": 15, **fields}
        name = "attacker" + "".join(letter for letter in title if letter.isalpha())[:40]
        version = self.bench.version({"app.py": HEAD + source}, name=name, **fields)
        before_mb = _rss_mb()
        outcome, waits = self.bench.wait(self._beside(version))
        after = self.bench.invoke(version, b'"again"') if outcome.error_type else None
        self.bench.wait(self.bench.functions.retire(version.arn))
        return {
            "payload": outcome.payload.decode("utf-8", "replace"), "error_type": outcome.error_type,
            "neighbour_s": max(waits), "grown_mb": _rss_mb() - before_mb,
            "again": after.error_type if after else "",
        }  # fmt: skip

    async def _beside(self, version: Any) -> Any:
        attack = asyncio.ensure_future(self.bench.invoke_soon(version, json.dumps(self.known).encode()))
        waits = []
        while not attack.done() or not waits:
            begun = time.monotonic()
            answer = await self.bench.invoke_soon(self.neighbour)
            assert answer.error is None, answer.payload
            waits.append(time.monotonic() - begun)
            await asyncio.wait([attack], timeout=0.05)
        return await attack, waits


def _rss_mb() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024


def say(message: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(message) + "\n")
    sys.stdout.flush()


def main() -> None:
    rung, folder = sys.argv[1], Path(sys.argv[2])
    if rung == USER and os.geteuid() == 0:
        os.chown(folder, ORDINARY, ORDINARY)
    surroundings(rung)
    attack = Attack(rung, folder)
    hello = attack.bench.functions.supply.hello
    say({"rung": attack.bench.functions.rung(), "hello": hello})
    for line in sys.stdin:
        asked = json.loads(line)
        say(attack.run(asked["title"], asked["source"], asked["fields"]))
    attack.bench.close()


if __name__ == "__main__":
    main()
