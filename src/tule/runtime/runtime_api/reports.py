"""The platform events of one execution environment, as the Telemetry API's schema has them."""

from typing import Any

from tule.runtime import outcomes
from tule.runtime.contract import FunctionVersion
from tule.runtime.runtime_api.extensions import Extension
from tule.runtime.runtime_api.telemetry import Telemetry


class Reports:
    """Tells subscribers what happens to the environment."""

    def __init__(self, telemetry: Telemetry, version: FunctionVersion | None, initialization: str) -> None:
        self._telemetry = telemetry
        self._version = version
        self._phase = {"initializationType": initialization, "phase": "init"}

    def _tell(self, kind: str, record: dict[str, Any]) -> None:
        self._telemetry.tell("platform", f"platform.{kind}", record)

    def init_start(self) -> None:
        version = self._version
        names = {} if version is None else {"functionName": version.name, "functionVersion": version.version}
        self._tell("initStart", {**self._phase, **names})

    def extension_ready(self, extension: Extension) -> None:
        self._tell("extension", {"name": extension.name, "state": "Ready", "events": extension.events})

    def init_end(self, ms: float, error_type: str) -> None:
        """initRuntimeDone and initReport."""
        done = {**self._phase, **_status(error_type)}
        self._tell("initRuntimeDone", done)
        self._tell("initReport", {**done, "metrics": {"durationMs": round(ms, 3)}})

    def start(self, head: dict[str, Any]) -> None:
        version = "" if self._version is None else self._version.version
        self._tell("start", {"requestId": head["request_id"], "version": version, **tracing(head)})

    def runtime_done(self, head: dict[str, Any], ms: float, error_type: str, produced: int) -> None:
        metrics = {"durationMs": round(ms, 3), "producedBytes": produced}
        record = {"requestId": head["request_id"], **_status(error_type), **tracing(head), "metrics": metrics}
        self._tell("runtimeDone", record)

    def report(self, head: dict[str, Any], ms: float, error_type: str, memory_mb: int) -> None:
        """The same figures as the REPORT line."""
        if self._version is None or not self._telemetry.wanted:
            return
        metrics = outcomes.metrics(self._version, ms, None, memory_mb)
        record = {"requestId": head["request_id"], "metrics": metrics, **tracing(head), **_status(error_type)}
        self._tell("report", record)


def _status(error_type: str) -> dict[str, str]:
    if not error_type:
        return {"status": "success"}
    return {"status": "error", "errorType": outcomes.told_type(error_type)}


def tracing(head: dict[str, Any]) -> dict[str, Any]:
    fields = dict(part.partition("=")[::2] for part in head["trace"].split(";"))
    if not fields.get("Root"):
        return {}
    return {"tracing": {"spanId": fields.get("Parent", ""), "type": "X-Amzn-Trace-Id", "value": head["trace"]}}
