"""Execution environments, as people ask for them."""

from typing import Final

import msgspec

from tule.admin.endpoints import AdminError, Ask, Endpoint
from tule.admin.traces import instant_text
from tule.runtime.cold_report import ColdStartReport, report
from tule.runtime.contract import FunctionRuntime, RuntimeUnavailableError


class Instance(msgspec.Struct, frozen=True):
    """One execution environment; `function_arn` is "" for one that is parked without code."""

    id: str
    function_arn: str
    version: str
    runtime: str
    state: str
    pid: int
    invocations: int
    memory_kb: int
    started: str


class Instances(msgspec.Struct, frozen=True):
    """All of them, and what confines them."""

    sandbox: str
    instances: list[Instance]


class ColdStarts(msgspec.Struct, frozen=True):
    """One report for each version that has started cold; none if the function is unknown or has not been called."""

    versions: list[ColdStartReport]


class Debug(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A function to be debugged: its ARN without a qualifier, and its runtime."""

    function_arn: str
    runtime: str
    port: int = 0
    """On this machine's loopback; 0 takes any."""


class Debugged(msgspec.Struct, frozen=True):
    """What a debugger must know: it attaches to `port`, and finds the function's code at `code_root`."""

    port: int
    debugger: str
    code_root: str
    held_s: float
    """How long that holds unless it is asked for again."""


class Undebugged(msgspec.Struct, frozen=True):
    """The function's next instances are as ever."""

    function_arn: str


HELD_S: Final = 20.0
"""How long a function is debugged unless that is asked for again (ours): a command that was killed can't say so."""


def debugging(runtime: FunctionRuntime) -> list[Endpoint]:
    """POST and DELETE functions/debug."""

    async def begin(ask: Ask) -> Debugged:
        wanted: Debug = ask.body
        try:
            found = await runtime.debug(wanted.function_arn, wanted.runtime, wanted.port, HELD_S)
        except RuntimeUnavailableError as error:
            raise AdminError(409, "RuntimeUnavailable", str(error)) from error
        except OSError as error:
            text = f"Port {wanted.port} can't be used: {error.strerror or error}. Name another with --debug-port."
            raise AdminError(409, "PortTaken", text) from error
        return Debugged(found.port, found.debugger, found.code_root, HELD_S)

    async def end(ask: Ask) -> Undebugged:
        wanted: Undebugged = ask.body
        await runtime.stop_debugging(wanted.function_arn)
        return Undebugged(wanted.function_arn)

    return [
        Endpoint("POST", "functions/debug", "Have a function wait for a debugger", begin, Debugged, Debug),
        Endpoint("DELETE", "functions/debug", "Debug a function no longer", end, Undebugged, Undebugged),
    ]


def endpoints(runtime: FunctionRuntime) -> list[Endpoint]:
    """GET functions/instances and functions/cold-starts."""

    async def listed(_: Ask) -> Instances:
        found = [
            Instance(
                one.id,
                one.function_arn,
                one.version,
                one.runtime,
                one.state,
                one.pid,
                one.invocations,
                one.pss_kb,
                instant_text(one.started_ms * 1000),
            )
            for one in runtime.instances()
        ]
        return Instances(runtime.rung(), found)

    async def cold_starts(ask: Ask) -> ColdStarts:
        found = runtime.cold_starts(ask.query.get("function", ""), ask.query.get("version", ""))
        return ColdStarts([report(kept) for kept in found])

    which = {"function": "Name or ARN.", "version": "$LATEST or a number; all versions unless given."}
    return [
        *debugging(runtime),
        Endpoint("GET", "functions/instances", "Execution environments and what confines them", listed, Instances),
        Endpoint(
            "GET", "functions/cold-starts", "Where cold starts spend their time", cold_starts, ColdStarts, query=which
        ),
    ]
