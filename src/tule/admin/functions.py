"""Execution environments, as people ask for them."""

import msgspec

from tule.admin.endpoints import Ask, Endpoint
from tule.admin.traces import instant_text
from tule.runtime.cold_report import ColdStartReport, report
from tule.runtime.contract import FunctionRuntime


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
        Endpoint("GET", "functions/instances", "Execution environments and what confines them", listed, Instances),
        Endpoint(
            "GET", "functions/cold-starts", "Where cold starts spend their time", cold_starts, ColdStarts, query=which
        ),
    ]
