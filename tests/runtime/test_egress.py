"""Where functions' connections may lead, on real sockets."""

import json
import socket
import threading

import pytest

from tule.runtime import rungs
from tule.runtime.contract import RuntimeUnavailableError
from tule.runtime.reach import Reach, Sandbox

ASKS = """
import socket
def handler(event, context):
    try:
        with socket.create_connection(tuple(event["to"]), timeout=3) as connection:
            connection.settimeout(3)
            if "send_mb" in event:
                connection.sendall(b"x" * (event["send_mb"] << 20))
                connection.shutdown(socket.SHUT_WR)
            got = b""
            while piece := connection.recv(65536): got += piece
            return got.decode()
    except OSError as error:
        return type(error).__name__
"""

LOOKS_UP = """
import socket, struct
def handler(event, context):
    name = b"".join(bytes([len(part)]) + part.encode() for part in event["name"].split(".")) + b"\\0"
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.settimeout(event.get("wait", 5))
        head, tail = b"\\x12\\x34\\x01\\0\\0\\x01\\0\\0\\0\\0\\0\\0", b"\\0\\x01\\0\\x01"
        sock.sendto(head + name + tail, tuple(event["server"]))
        try:
            return sock.recv(512)[3] & 15
        except TimeoutError:
            return "no answer"
"""


class Listener:
    """Says who it is, and how much it was sent."""

    def __init__(self, host, name):
        self._sock = socket.create_server((host, 0))
        self.port = self._sock.getsockname()[1]
        self._name = name
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self):
        while True:
            try:
                connection, _ = self._sock.accept()
            except OSError:
                return
            with connection:
                connection.settimeout(0.5)
                count = 0
                try:
                    while piece := connection.recv(1 << 16):
                        count += len(piece)
                except TimeoutError:
                    pass
                connection.sendall(f"{self._name} {count}".encode())

    def close(self):
        self._sock.close()


@pytest.fixture
def listeners():
    made = {"tule": Listener("127.0.0.1", "tule"), "host": Listener("127.0.0.1", "host")}
    made["far"] = Listener("0.0.0.0", "far")
    yield made
    for one in made.values():
        one.close()


@pytest.fixture
def networked(make_bench, listeners):
    if not rungs.look().name.startswith(("full", "namespaces")):
        pytest.skip("functions share the host's network here")

    def make(**sandbox):
        reach = Reach(public_port=sandbox.pop("public_port", 0), host_ports=sandbox.pop("host_ports", ()))
        endpoint = f"http://127.0.0.1:{listeners['tule'].port}"
        return make_bench(endpoint=endpoint, sandbox=Sandbox(reach, **sandbox), parked=1)

    return make


def outside_address():
    """An address of this machine's that is no loopback one."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        try:
            sock.connect(("192.0.2.77", 9))
        except OSError:
            pytest.skip("this machine has no network")
        address = sock.getsockname()[0]
    if address.startswith("127."):
        pytest.skip("this machine has no network")
    return address


def ask(bench, version, **event):
    outcome = bench.invoke(version, json.dumps(event).encode())
    assert outcome.error is None, outcome.payload
    return json.loads(outcome.payload)


@pytest.mark.parametrize("runtime", ["python3.11", "nodejs22.x"])
@pytest.mark.parametrize(
    ("egress", "tule", "far"),
    [("all", "tule 0", "far 0"), ("tule-only", "tule 0", "refused"), ("none", "refused", "refused")],
)
def test_connections_lead_where_the_egress_says(networked, listeners, runtime, egress, tule, far):
    bench = networked()
    if runtime.startswith("node"):
        source = """import net from "node:net";
        export const handler = ({ to: [host, port] }) => new Promise((resolve) => {
          let got = "";
          const socket = net.connect({ host, port }).on("data", (piece) => (got += piece));
          socket.on("close", () => resolve(got || "refused")).on("error", () => resolve("refused"));
        });"""
        version = bench.version({"app.mjs": source}, runtime=runtime, egress=egress, memory_mb=1769, timeout_s=15)
    else:
        version = bench.version({"app.py": ASKS}, egress=egress, memory_mb=1769, timeout_s=15)

    def reached(host, port):
        answer = ask(bench, version, to=[host, port])
        return "refused" if answer in {"", "ConnectionResetError", "ConnectionRefusedError"} else answer

    assert reached("127.0.0.1", listeners["tule"].port) == tule
    assert reached(outside_address(), listeners["far"].port) == far
    assert reached("127.0.0.1", listeners["host"].port) == "refused"
    assert reached("169.254.169.254", 80) == "refused"


def test_what_functions_are_told_nothing_about_is_decided_for_all(networked, listeners):
    bench = networked(egress="none")
    silent, speaking = (bench.version({"app.py": ASKS}, name=name, egress=name) for name in ("", "tule-only"))
    assert ask(bench, silent, to=["127.0.0.1", listeners["tule"].port]) == "ConnectionResetError"
    assert ask(bench, speaking, to=["127.0.0.1", listeners["tule"].port]) == "tule 0"


def test_named_services_of_the_host_are_found_at_localhost(networked, listeners):
    bench = networked(host_ports=(listeners["host"].port,))
    version = bench.version({"app.py": ASKS})
    assert ask(bench, version, to=["localhost", listeners["host"].port]) == "host 0"


def test_where_people_find_tule_functions_find_their_own_listener(networked, listeners):
    public = listeners["far"].port
    bench = networked(public_port=public)
    version = bench.version({"app.py": ASKS})
    assert ask(bench, version, to=["localhost", public]) == "tule 0"
    assert ask(bench, version, to=[outside_address(), public]) == "tule 0"


def test_much_data_goes_out_whole(networked, listeners):
    bench = networked()
    version = bench.version({"app.py": ASKS}, memory_mb=1769, timeout_s=30)
    answer = ask(bench, version, to=[outside_address(), listeners["far"].port], send_mb=20)
    assert answer == f"far {20 << 20}"


@pytest.mark.parametrize(("egress", "answer"), [("tule-only", 5), ("none", "no answer")])
def test_foreign_names_are_not_looked_up_for_those_who_may_not_go_there(networked, egress, answer):
    bench = networked()
    version = bench.version({"app.py": LOOKS_UP}, egress=egress)
    event = {"name": "secret.example.com", "server": ["8.8.8.8", 53], "wait": 0.5 if egress == "none" else 5}
    assert ask(bench, version, **event) == answer


def test_an_egress_that_cannot_be_kept_is_refused(make_bench):
    bench = make_bench(bare=True)
    version = bench.version({"app.py": ASKS}, egress="none")
    with pytest.raises(RuntimeUnavailableError, match="offers functions no networks of their own"):
        bench.invoke(version)


def test_functions_do_not_run_below_the_rung_that_people_insist_on(make_bench):
    bench = make_bench(bare=True, sandbox=Sandbox(least_rung="namespaces"))
    with pytest.raises(RuntimeUnavailableError, match=r"asks for namespaces, this machine offers landlock\. Missing: "):
        bench.invoke(bench.version({"app.py": ASKS}))


@pytest.mark.parametrize(
    ("hello", "name", "missing"),
    [
        ({}, "full", []),
        ({"root": False}, "namespaces", ["a user for each function"]),
        ({"controllers": ()}, "namespaces", ["control groups"]),
        ({"network": False}, "namespaces", ["networks of their own"]),
        ({"tree": False, "controllers": ()}, "landlock", ["namespaces"]),
        ({"tree": False, "landlock": 0, "controllers": ()}, "process", ["namespaces", "Landlock"]),
        ({"seccomp": False}, "namespaces", ["a system call filter"]),
    ],
)
def test_a_rung_is_what_was_found_and_says_what_the_next_would_take(hello, name, missing):
    whole = {
        "tree": True, "root": True, "network": True, "landlock": 7, "seccomp": True, "groups": 2,
        "controllers": ("memory", "cpu", "pids"),
    }  # fmt: skip
    rung = rungs.rung_of({**whole, **hello})
    assert rung.name == name
    assert rung.text.startswith(f"{name} (")
    assert [what for what, _ in rung.missing] == missing
    assert all(fix for _, fix in rung.missing)
    rungs.require(rung, name)
