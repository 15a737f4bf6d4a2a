"""Runtimes that are programs of their own and ask for work over the Runtime API: what is started for each."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from tule.runtime import bootstrap, java_client
from tule.runtime.hosts import Interpreter
from tule.runtime.supervised import Program

BOOTSTRAP: Final = Path(bootstrap.__file__).parent
"""Where the programs lie that become execution environments."""

NODE_FOLDER: Final = Path(__file__).parent / "node"
NODE_IN_TREE: Final = "/var/runtime/node"
NODE_PROGRAM: Final = "/var/lang/bin/node"

OWN_RUNTIMES: Final = frozenset({"python", "node"})
"""Kinds that Tule's own bootstraps serve; all others are programs."""


def is_program(interpreter: Interpreter) -> bool:
    return interpreter.kind not in OWN_RUNTIMES


def program_of(interpreter: Interpreter, claim: dict[str, Any], *, tree: bool, cache: Path) -> Program:
    """What runs for a function in its environment."""
    if interpreter.kind == "java":
        jars = java_client.IN_TREE if tree else str(java_client.folder(cache))
        return _wrapped([interpreter.program, *_java_options(claim), "-cp", f"{jars}/*", java_client.MAIN], claim)
    task = claim["environment"]["LAMBDA_TASK_ROOT"]
    opt = "/opt" if tree else str(claim["opt"] or "/opt")
    return Program((f"{task}/bootstrap", f"{opt}/bootstrap"))


def _java_options(claim: dict[str, Any]) -> list[str]:
    """As AWS starts Java: a heap of 85 % of the memory, one thread that collects garbage, the first compiler alone."""
    heap_kb = claim["memory_mb"] * 1024 * 85 // 100
    return [
        f"-XX:MaxHeapSize={heap_kb}k", "-XX:+UseSerialGC", "-Xshare:auto", "-XX:TieredStopAtLevel=1",
        "-Djava.net.preferIPv4Stack=true",
    ]  # fmt: skip


def _wrapped(command: list[str], claim: dict[str, Any]) -> Program:
    """A runtime of AWS's own, started by the function's wrapper script if it names one."""
    wrapper = claim["environment"].get("AWS_LAMBDA_EXEC_WRAPPER")
    whole = [wrapper, *command] if wrapper else command
    return Program((whole[0],), (*whole[1:], claim["handler"]))


def shown_of(interpreter: Interpreter, cache: Path) -> tuple[list[tuple[str, str]], list[str]]:
    """(what a tree must show where, what must be readable without one)."""
    if interpreter.kind != "java":
        return [], []
    prefix = interpreter.prefix
    shown = [(str(java_client.folder(cache)), java_client.IN_TREE)]
    if not prefix.startswith("/usr/"):
        shown.append((prefix, prefix))
    return shown, [prefix, str(java_client.folder(cache))]


async def prepare(interpreter: Interpreter, cache: Path) -> None:
    """Have on this machine what the runtime needs beside its program. Raises `RuntimeUnavailableError`."""
    if interpreter.kind == "java":
        await java_client.install(cache)


def managed_command(
    interpreter: Interpreter, environment: Mapping[str, str], preloaded: Sequence[str], *, tree: bool, trust: bool
) -> list[str]:
    """How one of Tule's own bootstraps is started, with the function's wrapper script if it names one.

    With `trust` Node finds in SSL_CERT_FILE whom to trust: it reads that at its first TLS connection, and what
    NODE_EXTRA_CA_CERTS names when it starts.
    """
    if interpreter.kind == "node":
        program = NODE_PROGRAM if tree else interpreter.program
        options = ["--use-openssl-ca"] if trust else []
        command = [program, *options, f"{NODE_IN_TREE if tree else NODE_FOLDER}/bootstrap.mjs"]
        if preloaded:
            command.append(",".join(preloaded))
    else:
        folder = "/var/runtime/bootstrap" if tree else str(Path(bootstrap.__file__).parent)
        command = [interpreter.program, "-S", f"{folder}/program.py"]
    wrapper = environment.get("AWS_LAMBDA_EXEC_WRAPPER")
    return [wrapper, *command] if wrapper else command


def managed(command: list[str]) -> Program:
    """One of Tule's own bootstraps, under a supervisor."""
    return Program((command[0],), tuple(command[1:]), framed=True)


def has_extensions(layers: str) -> bool:
    """Whether the merged layers bring external extensions."""
    return bool(layers) and Path(layers, "extensions").is_dir()
