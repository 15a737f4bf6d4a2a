# ruff: noqa: PTH102, PTH103, PTH208, PTH211, PTH119, PTH123, BLE001, S108, PLR0913, PLR0917, TRY301
# A zygote holds few modules, so os and open do what pathlib does elsewhere; strangers' code raises anything.
"""A Python execution environment: a fork of the zygote that waits for its function, becomes it, and serves it."""

import io
import json
import logging
import os
import random
import resource
import signal
import socket
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any, NoReturn

PACKAGES = "/tule/packages"
CGROUP = "/tule/cgroup"
TASK = "/var/task"
OPT = "/opt"
COMPILED = "/var/compiled"
DEVICES = ("/dev/null", "/dev/zero", "/dev/full")

NPROC_MAX = 1024
"""AWS: processes and threads of an execution environment."""
NOFILE_MAX = 1024
"""AWS: file descriptors."""
MEMORY_MAX_MB = 10240
"""AWS: the largest function."""
DATA_BASE_MB = 1024
"""Added to twice a function's memory where only a look at it every so often limits that (ours): a bomb that goes off
between two looks ends at this, and threads' stacks, which count in full, fit in."""


def furnish(zygote: Any, shape: dict[str, Any], lifeline: int) -> None:
    """What its namespaces hold. The forwarder serves the network until the process of `lifeline` ends."""
    zygote.tree.temporary(zygote.tree.TEMPORARY_MB)
    zygote.tree.processes()
    zygote.tree.hide()
    if zygote.egress is None:
        return
    network, settings = zygote.network, zygote.settings
    network.open_outward()
    named = [*settings["reach"], ("tcp", "127.0.0.1", network.TURNED_PORT), ("udp", "127.0.0.1", network.TURNED_PORT)]
    sockets = [network.listen(*one[:3]) for one in named]
    fds = [lifeline, *(sock.fileno() for sock in sockets)]
    message = json.dumps({"new": shape["id"], "sockets": named}).encode()
    socket.send_fds(zygote.egress, [message], fds)
    for sock in sockets:
        sock.close()


def prepare(zygote: Any, shape: dict[str, Any], output: int) -> None:
    """Everything that needs no knowledge of the function. `zygote` has the modules; `shape` says what there is."""
    zygote.confinement.leave_keyring()
    zygote.confinement.bound()
    os.setpgid(0, 0)  # no session of its own: where sessions share the cores equally, niceness would count for nothing
    os.nice(19 - os.nice(0))
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    os.dup2(output, 1)
    os.dup2(output, 2)
    if shape["tree"]:
        join_groups(shape)
    else:
        os.makedirs(shape["scratch"], 0o700, exist_ok=True)


def join_groups(shape: dict[str, Any], pid: int = 0) -> None:
    """Put a process, or (0) this one, into the groups that were made for this instance, if there are any."""
    for folder in shape["groups"].get("folders", ()):
        with open(f"{CGROUP}/{folder}/{shape['id']}/cgroup.procs", "w") as file:
            file.write(str(pid))


def memory_limit(shape: dict[str, Any], memory_mb: int) -> None:
    for folder, name in shape["groups"].get("memory", ()):
        with open(f"{CGROUP}/{folder}/{shape['id']}/{name}", "w") as file:
            file.write(str(memory_mb * 1024 * 1024))


def settle(zygote: Any, shape: dict[str, Any], claim: dict[str, Any]) -> str:
    """Put the function's code and limits in place; afterwards nothing of other functions can be reached."""
    tree = zygote.tree
    if not shape["tree"]:
        return str(claim["code"])
    memory_limit(shape, claim["memory_mb"])
    if claim["ephemeral_mb"] != tree.TEMPORARY_MB:
        tree.temporary(claim["ephemeral_mb"], tree.MS_REMOUNT)
    tree.bind(f"{PACKAGES}/{os.path.basename(claim['code'])}", TASK)
    if claim.get("opt"):
        tree.bind(f"{PACKAGES}/{os.path.basename(claim['opt'])}", OPT)
    if claim.get("compiled"):
        show_compiled(zygote, shape, f"{PACKAGES}/{os.path.basename(claim['compiled'])}")
    tree.unmount("/tule")
    open_network(zygote, shape, claim)
    return TASK


def show_compiled(zygote: Any, shape: dict[str, Any], folder: str) -> None:
    """Compiled code under the name by which Node looks for it, which has this instance's user in it."""
    tree = zygote.tree
    tree.mount("tule", COMPILED, "tmpfs", tree.MS_NOSUID | tree.MS_NODEV, "mode=755,size=16k")
    os.mkdir(f"{COMPILED}/code", 0o755)
    tree.bind(folder, f"{COMPILED}/code")
    for name in os.listdir(folder):
        os.symlink(f"code/{name}", f"{COMPILED}/{name}-{shape['uid'] or zygote.namespaces.USER}")


def open_network(zygote: Any, shape: dict[str, Any], claim: dict[str, Any]) -> None:
    """Have the forwarder carry what the function may send, and lead to what is for this instance alone."""
    if zygote.egress is None:
        return
    named = claim.get("reach", ())
    sockets = [zygote.network.listen(*one[:3]) for one in named]
    message = json.dumps({"open": shape["id"], "egress": claim.get("egress", "all"), "sockets": named}).encode()
    socket.send_fds(zygote.egress, [message], [sock.fileno() for sock in sockets])
    for sock in sockets:
        sock.close()


def confine(zygote: Any, shape: dict[str, Any], claim: dict[str, Any], code: str) -> None:
    """Give up what settling needed. The last step before code of strangers runs."""
    confinement = zygote.confinement
    if shape["tree"] and not shape["uid"]:
        zygote.namespaces.own_user()
    limit(confinement, shape, claim)
    forks = "orders" in shape
    if not (shape["tree"] and forks):  # forks of that mount, and are confined then
        fence(zygote, shape, [place for place in (code, claim.get("opt")) if place])
    confinement.become(shape["uid"], bounded=bool(shape["uid"]))
    confinement.die_with_parent(shape["parent"])  # again: a change of user clears it
    filter_calls(zygote, zygote.origin_filter if forks else zygote.filter)


def limit(confinement: Any, shape: dict[str, Any], claim: dict[str, Any]) -> None:
    """What holds for each process, and for memory where no group limits it."""
    data_mb = 0 if shape["groups"] else DATA_BASE_MB + 2 * claim.get("memory_mb", MEMORY_MAX_MB)
    file_mb = 0 if shape["tree"] else claim.get("ephemeral_mb", 512)
    processes = NPROC_MAX if shape["tree"] else NPROC_MAX * 16  # else they are counted with the rest of the user's
    confinement.limit(processes, NOFILE_MAX, file_mb << 20, data_mb << 20)


def fence(zygote: Any, shape: dict[str, Any], readable: Sequence[str]) -> None:
    """Landlock: in a tree all of it may be read, else what `shape` names and `readable`."""
    if not shape["landlock"]:
        return
    if shape["tree"]:
        zygote.landlock.restrict(["/"], ["/tmp", *DEVICES])
    else:
        zygote.landlock.restrict([*shape["readable"], *readable], [shape["scratch"], *DEVICES])


def filter_calls(zygote: Any, filter_: bytes) -> None:
    """The very last step: the filter refuses what the others need."""
    if filter_:
        zygote.seccomp.install(filter_)


def run(zygote: Any, shape: dict[str, Any], control: int, output: int) -> NoReturn:
    """The whole life of a forked instance. Never returns."""
    confinement = zygote.confinement
    channel = zygote.channel.Channel(socket.socket(fileno=control))
    prepare(zygote, shape, output)
    kept = {control, 0, 1, 2, *([shape["orders"]] if "orders" in shape else [])}
    confinement.close_others(kept if zygote.egress is None else {*kept, zygote.egress.fileno()})
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    _, body = channel.receive()
    started = time.monotonic()
    claim, _ = zygote.channel.split(body)
    code = settle(zygote, shape, claim)
    if zygote.egress is not None:
        zygote.egress.close()
    confine(zygote, shape, claim, code)
    environment(shape, claim)
    sys.path[:0] = [code, *claim["modules"]]
    if shape["sdk"] and shape["sdk"] not in sys.path:
        sys.path.append(shape["sdk"])
    sys.argv[:] = [""]
    os.chdir(code)
    random.seed()
    origin = zygote.snapshot.Origin(zygote, shape, channel, control) if "orders" in shape else None
    serve(zygote, channel, claim, started, origin)


def environment(shape: dict[str, Any], claim: dict[str, Any]) -> None:
    """The function's own environment in place of the zygote's, of which nothing is left."""
    os.environ.clear()
    os.environ.update(claim["environment"])
    if not shape["tree"]:
        os.environ.setdefault("TMPDIR", shape["scratch"])
    time.tzset()


def serve(zygote: Any, channel: Any, claim: dict[str, Any], started: float, origin: Any = None) -> NoReturn:
    """Import the handler, then answer one request after the other until Tule hangs up. As the `origin` of others, go on
    in forks alone."""
    handling = zygote.handling
    told: dict[str, Any] = {"place_ms": _since(started)}
    zygote.snapshot.provide()
    sys.stdout = io.TextIOWrapper(io.FileIO(1, "w", closefd=False), "utf-8", "backslashreplace", line_buffering=True)
    sys.stderr = io.TextIOWrapper(io.FileIO(2, "w", closefd=False), "utf-8", "backslashreplace", line_buffering=True)

    def log(text: str) -> None:
        flush()
        left = (text.replace("\n", zygote.channel.NEWLINE) + "\n").encode("utf-8", "backslashreplace")
        while left:
            left = left[os.write(1, left) :]

    as_json = os.environ.get("AWS_LAMBDA_LOG_FORMAT") == "JSON"
    requests = handling.RequestLog(log, as_json=as_json)
    logging.getLogger().addHandler(requests)
    if as_json:
        level = os.environ.get("AWS_LAMBDA_LOG_LEVEL", "INFO")
        logging.getLogger().setLevel("DEBUG" if level == "TRACE" else level)

    def log_error(told: dict[str, Any], text: str) -> None:
        log(handling.json_error(told) if as_json else text)

    def give_up(error: BaseException) -> NoReturn:
        failure, text = handling.describe(error, "")
        log_error(failure, text)
        channel.send(zygote.channel.READY, {"ms": _since(started), "error": failure})
        flush()
        os._exit(1)

    if claim.get("debug"):
        await_debugger(claim["debug"], log)
    times = zygote.imports.ImportTimes()
    function, fault = _load(zygote, claim, times, give_up)
    flush()
    told["modules"] = times.told()
    if claim.get("sources"):
        told["sources"] = zygote.imports.sources(os.environ["LAMBDA_TASK_ROOT"])
    if origin is not None:
        if fault is not None:
            give_up(fault)
        channel, claim = origin.hold(started, told, log_error)
    else:
        channel.send(zygote.channel.READY, {**told, "ms": _since(started), "error": None})
    while True:
        _, body = channel.receive()
        head, payload = zygote.channel.split(body)
        requests.request_id = head["request_id"]
        one_request(zygote, channel, claim, head, payload, function, fault, log_error)


def await_debugger(wanted: dict[str, Any], log: Callable[[str], None]) -> None:
    """Wait until a debugger is there: the function's own debugpy, or Tule's."""
    os.environ.setdefault("PYDEVD_DISABLE_FILE_VALIDATION", "1")  # it warns of modules that it can't halt in: not ours
    sys.path.append(wanted["folder"])
    import debugpy  # noqa: T100 - somebody asked to debug this function

    debugpy.listen(("127.0.0.1", wanted["port"]))  # noqa: T100 - likewise
    log("Tule: waiting for a debugger")
    debugpy.wait_for_client()  # noqa: T100 - likewise


def _load(zygote: Any, claim: dict[str, Any], times: Any, give_up: Callable[[BaseException], NoReturn]) -> Any:
    """(handler, None), or (None, the fault that requests are answered with)."""
    times.start()
    try:
        return zygote.handling.load_handler(claim["handler"]), None
    except zygote.handling.Fault as error:
        return None, error
    except Exception as error:
        give_up(error)
    except SystemExit as error:
        flush()
        os._exit(_code(error))
    finally:
        times.stop()


def one_request(
    zygote: Any,
    channel: Any,
    claim: dict[str, Any],
    head: dict[str, Any],
    payload: bytes,
    function: Any,
    fault: Any,
    log_error: Callable[[dict[str, Any], str], None],
) -> None:
    handling = zygote.handling
    os.environ["_X_AMZN_TRACE_ID"] = head["trace"]
    error = b'""'
    started = time.monotonic()
    try:
        if fault is not None:
            raise fault
        try:
            event = json.loads(payload)
        except ValueError as problem:
            raise handling.Fault("Runtime.UnmarshalError", f"Unable to unmarshal input: {problem}") from None
        answer = handling.to_json(function(event, zygote.context.LambdaContext(claim, head)))
    except SystemExit as problem:
        flush()
        os._exit(_code(problem))
    except Exception as problem:
        told, text = handling.describe(problem, head["request_id"])
        log_error(told, text)
        error = json.dumps(told["errorType"]).encode()
        answer = json.dumps(told).encode()
    ms = _since(started)
    flush()
    memory_kb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    channel.send_text(zygote.channel.DONE, b'{"error":%b,"ms":%.3f,"memory_kb":%d}' % (error, ms, memory_kb), answer)


def flush() -> None:
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError):
            continue


def _since(started: float) -> float:
    return (time.monotonic() - started) * 1000


def _code(error: SystemExit) -> int:
    """The exit code that a SystemExit asks for."""
    if error.code is None:
        return 0
    return error.code & 255 if isinstance(error.code, int) else 1
