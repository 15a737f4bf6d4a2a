"""Execution environments, as people ask for them."""

import msgspec

from tule.admin.endpoints import Ask, Endpoint
from tule.admin.traces import instant_text
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


def endpoints(runtime: FunctionRuntime) -> list[Endpoint]:
    """GET functions/instances."""

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

    return [Endpoint("GET", "functions/instances", "Execution environments and what confines them", listed, Instances)]
