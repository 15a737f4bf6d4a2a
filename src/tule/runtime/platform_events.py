"""The log of a function whose LogFormat is JSON: platform events, and which lines are severe enough to be kept.

Shapes are those of the Telemetry API's event schema, levels those of AWS's "System log level event mapping". AWS names
the runtime's own version in platform.initStart, which Tule has none of: so it is the event's DEBUG form.
"""

from datetime import UTC, datetime
from typing import Any, Final

import msgspec

from tule.runtime.contract import FunctionVersion

_RANKS: Final = {"TRACE": 0, "DEBUG": 1, "INFO": 2, "WARN": 3, "WARNING": 3, "ERROR": 4, "FATAL": 5, "CRITICAL": 5}
"""AWS's names and those of Python's logging."""

_INFO: Final = _RANKS["INFO"]
_WANTED_AT: Final = {"DEBUG": 1, "INFO": 2, "WARN": 3}

SUCCESS, ERROR, FAILURE, TIMEOUT = "success", "error", "failure", "timeout"
"""status of a phase: went well, the function failed, its process did, its time was up."""

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder().decode


def iso(instant_ms: int) -> str:
    """2026-11-21T12:00:00.123Z."""
    moment = datetime.fromtimestamp(instant_ms / 1000, UTC)
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{instant_ms % 1000:03d}Z"


def kept(line: str, level: str) -> bool:
    """Whether a line that a function printed is at least of `level`. One that names no level is INFO."""
    least = _RANKS.get(level, _INFO)
    if least <= 0:
        return True
    rank = _INFO
    if line.startswith("{"):
        try:
            told = _decode(line)
        except ValueError:
            return rank >= least
        name = told.get("level") if isinstance(told, dict) else None
        if isinstance(name, str):
            rank = _RANKS.get(name.upper(), _INFO)
    return rank >= least


class PlatformEvents:
    """Writes the events of one request, as lines; "" for what the function's SystemLogLevel leaves out."""

    def __init__(self, version: FunctionVersion, request_id: str, trace_header: str, initialization: str) -> None:
        self._version = version
        self._request_id = request_id
        self._trace_header = trace_header
        self._initialization = initialization
        self._least = _WANTED_AT.get(version.system_level, _INFO)

    def _event(self, level: str, kind: str, instant_ms: int, record: dict[str, Any]) -> str:
        if _RANKS[level] < self._least:
            return ""
        return _encode({"time": iso(instant_ms), "type": f"platform.{kind}", "record": record}).decode()

    def _tracing(self) -> dict[str, Any]:
        fields = dict(part.partition("=")[::2] for part in self._trace_header.split(";"))
        if not fields.get("Root"):
            return {}
        return {
            "tracing": {
                "spanId": fields.get("Parent", ""), "type": "X-Amzn-Trace-Id", "value": self._trace_header,
            }
        }  # fmt: skip

    def init_start(self, instant_ms: int) -> str:
        version = self._version
        record = {
            "initializationType": self._initialization, "phase": "init", "functionName": version.name,
            "functionVersion": version.version,
        }  # fmt: skip
        return self._event("DEBUG", "initStart", instant_ms, record)

    def init_end(self, instant_ms: int, duration_ms: float, status: str, error_type: str) -> list[str]:
        """initRuntimeDone and initReport."""
        record: dict[str, Any] = {"initializationType": self._initialization, "phase": "init", "status": status}
        if error_type:
            record["errorType"] = error_type
        level = "DEBUG" if status == SUCCESS else "WARN"
        report = {**record, "metrics": {"durationMs": round(duration_ms, 3)}}
        return [
            self._event(level, "initRuntimeDone", instant_ms, record),
            self._event(level, "initReport", instant_ms, report),
        ]

    def restored(self, instant_ms: int, duration_ms: float, status: str, error_type: str) -> list[str]:
        """restoreStart, restoreRuntimeDone and restoreReport."""
        version = self._version
        begun = {"functionName": version.name, "functionVersion": version.version}
        told: dict[str, Any] = {"status": status, **({"errorType": error_type} if error_type else {})}
        level = "DEBUG" if status == SUCCESS else "WARN"
        report = {**told, "metrics": {"durationMs": round(duration_ms, 3)}}
        return [
            self._event("DEBUG", "restoreStart", instant_ms, begun),
            self._event(level, "restoreRuntimeDone", instant_ms, told),
            self._event(level, "restoreReport", instant_ms, report),
        ]

    def start(self, instant_ms: int) -> str:
        version = self._version
        record = {"requestId": self._request_id, "functionArn": version.arn, "version": version.version}
        return self._event("INFO", "start", instant_ms, {**record, **self._tracing()})

    def end(self, instant_ms: int, status: str, error_type: str, metrics: dict[str, Any], produced: int) -> list[str]:
        """runtimeDone and report. `metrics` are those of the report."""
        told: dict[str, Any] = {"requestId": self._request_id, "status": status}
        if error_type:
            told["errorType"] = error_type
        done = {**told, **self._tracing(), "metrics": {"durationMs": metrics["durationMs"], "producedBytes": produced}}
        report = {"requestId": told.pop("requestId"), "metrics": metrics, **self._tracing(), **told}
        return [
            self._event("DEBUG" if status == SUCCESS else "WARN", "runtimeDone", instant_ms, done),
            self._event("INFO" if status == SUCCESS else "WARN", "report", instant_ms, report),
        ]

    def notice(self, instant_ms: int, text: str) -> str:
        """A remark of Tule's own on how the function is run."""
        told = {"timestamp": iso(instant_ms), "level": "WARN", "message": text, "requestId": self._request_id}
        return _encode(told).decode()
