"""What AWS says of an invocation: error payloads, START, END and REPORT lines, and the tail of the log."""

import math
import re
import signal
from dataclasses import dataclass
from typing import Any, Final

import msgspec

from tule.runtime.contract import LOG_TAIL_BYTES, MAX_RESPONSE_BYTES, FunctionVersion

EXIT_ERROR: Final = "Runtime.ExitError"
TIMED_OUT: Final = "Sandbox.Timedout"
TOO_LARGE: Final = "Function.ResponseSizeTooLarge"

_SIGNALS: Final = {
    signal.SIGKILL: "killed",
    signal.SIGSEGV: "segmentation fault",
    signal.SIGABRT: "aborted",
    signal.SIGTERM: "terminated",
    signal.SIGBUS: "bus error",
    signal.SIGFPE: "floating point exception",
    signal.SIGILL: "illegal instruction",
    signal.SIGINT: "interrupt",
    signal.SIGHUP: "hangup",
    signal.SIGQUIT: "quit",
    signal.SIGTRAP: "trace/breakpoint trap",
    signal.SIGPIPE: "broken pipe",
    signal.SIGSYS: "bad system call",
    signal.SIGXFSZ: "file size limit exceeded",
}
"""As the runtime's supervisor on AWS, a Go program, names them."""


@dataclass(frozen=True, slots=True)
class Restore:
    """An execution environment that came of a snapshot."""

    ms: float
    """From wanting it until it was ready."""
    billed_ms: int
    """What the runtime and its after-restore hooks took of that."""


def restore_lines(restore: Restore, status: str = "") -> list[str]:
    """AWS's lines on a restore. (Its RESTORE_START names a runtime version, of which Tule has none.)"""
    line = f"RESTORE_REPORT Restore Duration: {restore.ms:.2f} ms"
    return ["RESTORE_START", f"{line}\t{status}" if status else line]


def exit_error(request_id: str, status: int | None) -> dict[str, Any]:
    """The process ended instead of answering. `status` as `Instance.exit_status` gives it."""
    if status is None:
        status = -signal.SIGKILL
    if status == 0:
        told = "Runtime exited without providing a reason"
    elif status < 0:
        told = f"Runtime exited with error: signal: {_SIGNALS.get(signal.Signals(-status), f'signal {-status}')}"
    else:
        told = f"Runtime exited with error: exit status {status}"
    return {"errorType": EXIT_ERROR, "errorMessage": f"RequestId: {request_id} Error: {told}"}


def with_request(told: dict[str, Any], request_id: str) -> dict[str, Any]:
    """An error of the environment's own, which names the request that met it."""
    if "problem" not in told:
        return told
    return {"errorType": told["errorType"], "errorMessage": f"RequestId: {request_id} Error: {told['problem']}"}


def timed_out(request_id: str, timeout_s: int) -> dict[str, Any]:
    """The function took longer than it may."""
    return {
        "errorType": TIMED_OUT,
        "errorMessage": f"RequestId: {request_id} Error: Task timed out after {timeout_s:.2f} seconds",
    }


def too_large(most_bytes: int = MAX_RESPONSE_BYTES) -> dict[str, Any]:
    """The answer is more than an invocation may return: at once, or streamed."""
    return {
        "errorType": TOO_LARGE,
        "errorMessage": f"Response payload size exceeded maximum allowed payload size ({most_bytes} bytes).",
    }


def start_line(request_id: str, version: FunctionVersion) -> str:
    return f"START RequestId: {request_id} Version: {version.version}"


def end_line(request_id: str) -> str:
    return f"END RequestId: {request_id}"


def report_line(  # noqa: PLR0913 - one for each field of the line
    request_id: str,
    version: FunctionVersion,
    *,
    duration_ms: float,
    init_ms: float | None,
    memory_mb: int,
    trace_header: str,
    status: str = "",
    restore: Restore | None = None,
) -> str:
    """The REPORT line, with the trace's line below it as AWS prints them."""
    parts = [
        f"REPORT RequestId: {request_id}",
        f"Duration: {duration_ms:.2f} ms",
        f"Billed Duration: {billed_ms(duration_ms, init_ms, restore)} ms",
        f"Memory Size: {version.memory_mb} MB",
        f"Max Memory Used: {memory_mb} MB",
    ]
    if init_ms is not None:
        parts.append(f"Init Duration: {init_ms:.2f} ms")
    if restore is not None:
        parts += [f"Restore Duration: {restore.ms:.2f} ms", f"Billed Restore Duration: {restore.billed_ms} ms"]
    if status:
        parts.append(status)
    line = "\t".join(parts) + "\t"
    root = _field(trace_header, "Root=")
    if root:
        sampled = "true" if _field(trace_header, "Sampled=") == "1" else "false"
        line += f"\nXRAY TraceId: {root}\tSegmentId: {_field(trace_header, 'Parent=')}\tSampled: {sampled}\t"
    return line


def _field(trace_header: str, name: str) -> str:
    """What a trace header says after a name that is in it once, as those of `TraceContext.header` are."""
    _, found, rest = trace_header.partition(name)
    return rest.partition(";")[0] if found else ""


def billed_ms(duration_ms: float, init_ms: float | None, restore: Restore | None = None) -> int:
    """Whole milliseconds that are paid for: since August 2025 the init phase of zip packages is among them, of a
    restore what the runtime and its hooks took."""
    return max(1, math.ceil(duration_ms + (init_ms or 0.0) + (restore.billed_ms if restore else 0)))


def metrics(
    version: FunctionVersion, duration_ms: float, init_ms: float | None, memory_mb: int, restore: Restore | None = None
) -> dict[str, float | int]:
    """The same figures as platform.report has them."""
    found: dict[str, float | int] = {
        "durationMs": round(duration_ms, 3),
        "billedDurationMs": billed_ms(duration_ms, init_ms, restore),
        "memorySizeMB": version.memory_mb,
        "maxMemoryUsedMB": memory_mb,
    }
    if init_ms is not None:
        found["initDurationMs"] = round(init_ms, 3)
    if restore is not None:
        found |= {"restoreDurationMs": round(restore.ms, 3), "billedRestoreDurationMs": restore.billed_ms}
    return found


_TOLD_TYPE: Final = re.compile(r"(Runtime|Function|Sandbox)\.[A-Z][a-zA-Z]+")


def told_type(error_type: str) -> str:
    """An error's type as platform events tell it: names that functions choose are kept out of them."""
    return error_type if _TOLD_TYPE.fullmatch(error_type) else "Runtime.Unknown"


def tail(lines: list[str]) -> bytes:
    """The last 4 KB of a log."""
    pieces: list[bytes] = []
    size = 0
    for line in reversed(lines):
        data = line.encode("utf-8", "replace") + b"\n"
        pieces.append(data)
        size += len(data)
        if size >= LOG_TAIL_BYTES:
            break
    return b"".join(reversed(pieces))[-LOG_TAIL_BYTES:]


def error_type_of(payload: bytes) -> str:
    """errorType of an error's JSON, or ""."""
    try:
        value = msgspec.json.decode(payload)
    except ValueError:
        return ""
    return str(value.get("errorType", "")) if isinstance(value, dict) else ""
