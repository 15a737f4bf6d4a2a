# ruff: noqa: PTH100, PTH120, BLE001, N818
# A zygote holds few modules, so os and open do what pathlib does elsewhere; strangers' code raises anything.
"""Finding a Python handler, calling it, and telling of failures, all in AWS's words."""

import decimal
import importlib
import json
import logging
import os
import sys
import time
import traceback
import types
from collections.abc import Callable, Iterable
from typing import Any

OURS = os.path.dirname(os.path.abspath(__file__))


class Fault(Exception):
    """A failure that has an error type of the runtime's own."""

    def __init__(self, kind: str, message: str, stack: Iterable[str] = ()) -> None:
        super().__init__(message)
        self.kind = kind
        self.stack = list(stack)


def load_handler(handler: str) -> Any:
    """The function that "module.name" or "folder/module.name" stands for. Raises `Fault` and what the module raises."""
    module_name, dot, name = handler.rpartition(".")
    if not dot:
        raise Fault(
            "Runtime.MalformedHandlerName", f"Bad handler '{handler}': not enough values to unpack (expected 2, got 1)"
        )
    dotted = module_name.replace("/", ".")
    if dotted.split(".")[0] in sys.builtin_module_names:
        raise Fault("Runtime.ImportModuleError", f"Cannot use built-in module {module_name} as a handler module")
    try:
        module = importlib.import_module(dotted)
    except ImportError as error:
        raise Fault("Runtime.ImportModuleError", f"Unable to import module '{module_name}': {error}") from None
    except SyntaxError as error:
        where = f'  File "{error.filename}" Line {error.lineno}\n    {error.text}'
        raise Fault(
            "Runtime.UserCodeSyntaxError", f"Syntax error in module '{module_name}': {error}", [where]
        ) from None
    found = getattr(module, name, None)
    if found is None:
        raise Fault("Runtime.HandlerNotFound", f"Handler '{name}' missing on module '{module_name}'")
    return found


def encode_default(value: Any) -> float:
    if isinstance(value, decimal.Decimal):
        return float(value)
    raise TypeError(f"Object of type {type(value).__name__} is not JSON serializable")


_encode = json.JSONEncoder(default=encode_default, ensure_ascii=False).encode


def to_json(value: Any) -> bytes:
    """The response as AWS's runtime writes it."""
    try:
        return _encode(value).encode("utf-8", "surrogatepass")
    except Exception as error:
        raise Fault("Runtime.MarshalError", f"Unable to marshal response: {error}") from None


def describe(error: BaseException, request_id: str) -> tuple[dict[str, Any], str]:
    """AWS's JSON for an exception, and the text that goes to the log."""
    if isinstance(error, Fault):
        kind, message, stack = error.kind, str(error), error.stack
    else:
        kind, message = type(error).__name__, str(error)
        stack = traceback.format_list(_of_user(error.__traceback__))
    told = {"errorMessage": message, "errorType": kind, "requestId": request_id, "stackTrace": stack}
    first = f"[ERROR] {kind}: {message}" if message else f"[ERROR] {kind}"
    log = first + "\nTraceback (most recent call last):\n" + "".join(stack)
    return told, log.rstrip("\n")


def _of_user(trace: types.TracebackType | None) -> list[traceback.FrameSummary]:
    """The frames of the function's own code: those below the bootstrap and the import machinery."""
    frames = traceback.extract_tb(trace)
    first = 0
    for index, frame in enumerate(frames):
        name = frame.filename
        ours = name.startswith("<frozen importlib") or os.path.dirname(name) == OURS
        if ours or (index == first and name.endswith("/importlib/__init__.py")):
            first = index + 1
    return frames[first:] if first < len(frames) else frames


def timestamp(seconds: float) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds)) + f".{int(seconds * 1000) % 1000:03d}Z"


def json_error(told: dict[str, Any]) -> str:
    """A failure as one line of a JSON log."""
    return json.dumps({"timestamp": timestamp(time.time()), "level": "ERROR", **told}, ensure_ascii=False)


class JsonRecords(logging.Formatter):
    """A record as one JSON object, with the names AWS's runtime gives its parts and the record's own extras."""

    _OWN = frozenset({*vars(logging.makeLogRecord({})), "aws_request_id", "asctime", "message"})

    def format(self, record: logging.LogRecord) -> str:
        level = logging.getLevelName(min(50, max(0, record.levelno)) // 10 * 10)
        told: dict[str, Any] = {
            "timestamp": timestamp(record.created),
            "level": level,
            "message": record.getMessage(),
            "logger": record.name,
        }
        if record.exc_info and record.exc_info[0] is not None:
            kind, error, trace = record.exc_info
            told |= {"stackTrace": traceback.format_tb(trace), "errorType": kind.__name__, "errorMessage": str(error)}
        told["requestId"] = record.__dict__.get("aws_request_id", "")
        if record.exc_info:
            told["location"] = f"{record.pathname}:{record.funcName}:{record.lineno}"
        extras = {name: value for name, value in vars(record).items() if name not in self._OWN and name not in told}
        return json.dumps({**told, **extras}, ensure_ascii=False)


class RequestLog(logging.Handler):
    """The root handler that AWS's runtime installs: one record, one log event."""

    def __init__(self, emit: Callable[[str], None], *, as_json: bool = False) -> None:
        super().__init__()
        self._emit = emit
        self.request_id = ""
        if as_json:
            self.setFormatter(JsonRecords())
            return
        line = "[%(levelname)s]\t%(asctime)s.%(msecs)03dZ\t%(aws_request_id)s\t%(message)s"
        formatter = logging.Formatter(line, "%Y-%m-%dT%H:%M:%S")
        formatter.converter = time.gmtime
        self.setFormatter(formatter)

    def emit(self, record: logging.LogRecord) -> None:
        record.aws_request_id = self.request_id
        try:
            self._emit(self.format(record))
        except Exception:
            self.handleError(record)
