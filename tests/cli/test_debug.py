"""`tule debug`, with debuggers that speak their own protocols."""

import io
import json
import os
import queue
import signal
import socket
import subprocess
import sys
import threading
import zipfile
from contextlib import contextmanager

import pytest
from click.testing import CliRunner

from function_account import tule_with_caches
from tule.cli.debug import launch
from tule.cli.debug.command import command
from tule.cli.outcome import Failure

GUARD_S = 300.0
"""Against waiting for ever for a word that never comes."""

PYTHON = """count = 0

def handler(event, context):
    doubled = event["n"] * 2
    return {"doubled": doubled, "limit": context.memory_limit_in_mb}
"""

NODE = """export const handler = async (event) => {
  debugger;
  return event.n * 2;
};
"""


@pytest.fixture(scope="module")
def home():
    with tule_with_caches() as running:
        yield running


def create(home, name, file, source, runtime):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr(file, source)
    functions = home.client("lambda")
    functions.create_function(
        FunctionName=name, Runtime=runtime, Role="arn:aws:iam::000000000000:role/r", Handler="app.handler",
        Code={"ZipFile": buffer.getvalue()}, Timeout=1, MemorySize=128,
    )  # fmt: skip
    functions.get_waiter("function_active_v2").wait(FunctionName=name, WaiterConfig={"Delay": 0.05})


class Call(threading.Thread):
    """A call of a function, under way."""

    def __init__(self, home, name):
        super().__init__(daemon=True)
        self._home, self._name = home, name
        self.answer = queue.Queue()
        self.start()

    def run(self):
        answered = self._home.client("lambda").invoke(FunctionName=self._name, Payload=b'{"n": 21}')
        self.answer.put((json.loads(answered["Payload"].read()), answered.get("FunctionError")))

    def result(self):
        return self.answer.get(timeout=GUARD_S)


@contextmanager
def debugging(home, folder, name):
    """(what `tule debug --json` said first, its process)."""
    line = [sys.executable, "-m", "tule.cli.main", "debug", name, "--json", "--debug-port", "0"]
    line += ["--dir", str(home.directory)]
    process = subprocess.Popen(line, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    guard = threading.Timer(GUARD_S, process.kill)
    guard.start()
    try:
        told = process.stdout.readline()
        assert told, process.stderr.read()
        yield json.loads(told), process
    finally:
        guard.cancel()
        process.kill()
        process.communicate()


def stop(process):
    process.send_signal(signal.SIGINT)
    assert json.loads(process.stdout.readline())["event"] == "stopped"
    assert process.wait(GUARD_S) == 0


class DebugAdapter:
    """A client of the Debug Adapter Protocol, as editors are."""

    def __init__(self, port):
        self._sock = connected(port)
        self._sock.settimeout(GUARD_S)
        self._file = self._sock.makefile("rb")
        self._number = 0

    def send(self, name, **arguments):
        self._number += 1
        body = json.dumps({"seq": self._number, "type": "request", "command": name, "arguments": arguments}).encode()
        self._sock.sendall(b"Content-Length: %d\r\n\r\n%b" % (len(body), body))

    def until(self, kind, name):
        """The next response to a command, or the next event of a name."""
        while True:
            length = 0
            while (line := self._file.readline().strip()) or not length:
                assert line, "the debugger hung up"
                length = int(line.partition(b":")[2])
            message = json.loads(self._file.read(length))
            if message["type"] == kind and message.get("command" if kind == "response" else "event") == name:
                assert message.get("success", True), message
                return message.get("body", {})

    def close(self):
        self._file.close()
        self._sock.close()


def connected(port):
    """A connection that is not hung up on at once: the function must run first."""
    while True:
        sock = socket.create_connection(("127.0.0.1", port), timeout=GUARD_S)
        sock.settimeout(0.2)
        try:
            if sock.recv(1, socket.MSG_PEEK):
                return sock
        except TimeoutError:
            return sock
        sock.close()


def test_python_halts_where_it_is_told_to(home, tmp_path):
    create(home, "halting", "app.py", PYTHON, "python3.11")
    with debugging(home, tmp_path, "halting") as (told, process):
        assert told["debugger"] == "debugpy"
        call = Call(home, "halting")
        debugger = DebugAdapter(told["port"])
        mappings = [{"localRoot": str(tmp_path), "remoteRoot": told["code_root"] or str(tmp_path)}]
        debugger.send("initialize", adapterID="tests", pathFormat="path")
        debugger.until("response", "initialize")
        debugger.send("attach", pathMappings=mappings, justMyCode=True)
        debugger.until("event", "initialized")
        (tmp_path / "app.py").write_text(PYTHON)
        debugger.send("setBreakpoints", source={"path": str(tmp_path / "app.py")}, breakpoints=[{"line": 5}])
        debugger.until("response", "setBreakpoints")
        debugger.send("configurationDone")
        thread = debugger.until("event", "stopped")["threadId"]
        debugger.send("stackTrace", threadId=thread)
        frame = debugger.until("response", "stackTrace")["stackFrames"][0]
        assert (frame["name"], frame["line"]) == ("handler", 5)
        debugger.send("evaluate", expression="doubled", frameId=frame["id"])
        assert debugger.until("response", "evaluate")["result"] == "42"
        threading.Event().wait(1.2)  # longer than the function's time
        debugger.send("continue", threadId=thread)
        answer, failed = call.result()
        assert (answer["doubled"], failed) == (42, None)
        stop(process)
        debugger.close()
    answer, failed = Call(home, "halting").result()
    assert (answer, failed) == ({"doubled": 42, "limit": "128"}, None)


def test_node_halts_at_its_debugger_statement(home, tmp_path):
    create(home, "halting-node", "app.mjs", NODE, "nodejs20.x")
    with debugging(home, tmp_path, "halting-node") as (told, process):
        assert told["debugger"] == "inspector"
        call = Call(home, "halting-node")
        connected(told["port"]).close()
        inspect = subprocess.Popen(
            ["node", "inspect", f"127.0.0.1:{told['port']}"],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env={**os.environ, "NO_COLOR": "1"},
        )  # fmt: skip
        guard = threading.Timer(GUARD_S, inspect.kill)
        guard.start()
        assert any("break in" in line and "app.mjs" in line for line in inspect.stdout)
        threading.Event().wait(1.2)  # longer than the function's time
        inspect.stdin.write("cont\n")
        inspect.stdin.flush()
        assert call.result() == (42, None)
        stop(process)
        guard.cancel()
        inspect.kill()
        inspect.communicate()
    assert Call(home, "halting-node").result() == (42, None)


def test_vs_code_is_told_where(home, tmp_path):
    create(home, "shown", "app.py", PYTHON, "python3.11")
    with debugging(home, tmp_path, "shown") as (told, process):
        stop(process)
    entry = json.loads((tmp_path / ".vscode" / "launch.json").read_text())["configurations"][0]
    assert entry["name"] == "Tule: shown"
    assert entry["connect"] == {"host": "127.0.0.1", "port": told["port"]}
    assert entry["pathMappings"][0]["localRoot"] == "${workspaceFolder}"


def test_a_command_that_is_killed_leaves_nothing_waiting(home, tmp_path):
    create(home, "left", "app.py", PYTHON, "python3.11")
    with debugging(home, tmp_path, "left") as (_, process):
        process.kill()
        process.wait()
        home.admin("functions/debug", {"function_arn": told_arn(home, "left")}, method="DELETE")
    assert Call(home, "left").result()[0]["doubled"] == 42


def told_arn(home, name):
    return home.client("lambda").get_function_configuration(FunctionName=name)["FunctionArn"]


# -- launch.json

WANTED = {"name": "Tule: f", "type": "debugpy", "port": 1}

COMMENTED = """{
  // ours
  "version": "0.2.0",
  "configurations": [
    /* the first */
    {"name": "Other", "url": "http://x//y", },  // stays
  ],
}
"""


def blanked(file):
    return json.loads(launch.blank(file.read_text()))


def test_a_new_file_has_the_one_configuration(tmp_path):
    file = tmp_path / ".vscode" / "launch.json"
    assert launch.write(file, WANTED) is True
    assert json.loads(file.read_text()) == {"version": "0.2.0", "configurations": [WANTED]}
    assert launch.write(file, WANTED) is False


def test_what_others_wrote_stays_byte_for_byte(tmp_path):
    file = tmp_path / "launch.json"
    file.write_text(COMMENTED)
    launch.write(file, WANTED)
    text = file.read_text()
    assert [entry["name"] for entry in blanked(file)["configurations"]] == ["Tule: f", "Other"]
    assert all(line in text for line in COMMENTED.splitlines())
    launch.write(file, {**WANTED, "port": 2})
    assert [entry.get("port") for entry in blanked(file)["configurations"]] == [2, None]
    assert file.read_text() == text.replace('"port": 1', '"port": 2')


def test_a_file_without_configurations_gets_them(tmp_path):
    file = tmp_path / "launch.json"
    file.write_text('{"version": "0.2.0"}')
    launch.write(file, WANTED)
    assert json.loads(file.read_text())["configurations"] == [WANTED]


def test_a_file_that_is_broken_is_left_alone(tmp_path):
    file = tmp_path / "launch.json"
    file.write_text("{broken")
    with pytest.raises(Failure) as failure:
        launch.write(file, WANTED)
    assert file.read_text() == "{broken"
    assert '"Tule: f"' in failure.value.fix


def test_what_can_not_be_debugged_is_told(home):
    result = CliRunner().invoke(command, ["nothing", "--dir", str(home.directory)])
    assert result.exit_code != 0
    assert "nothing" in str(result.exception)
