"""A real function runtime per test module, driven from plain test functions."""

import asyncio
import hashlib
import io
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import uvloop

from tule.kernel.clocks import SystemClock
from tule.kernel.ports import BlobRef
from tule.kernel.randomness import SystemRandom
from tule.runtime.contract import FunctionVersion, InvokeOutcome, RoleSession
from tule.runtime.functions import Functions

FAR_MS = 1 << 52


class KeptLogs:
    """A log sink that keeps what it gets."""

    def __init__(self) -> None:
        self.events: list[tuple[str, int, str]] = []

    def write(self, account: str, region: str, group: str, stream: str, events: Any) -> None:
        self.events += [(stream, at_ms, text) for at_ms, text in events]

    def text(self) -> str:
        return "\n".join(text for _, _, text in self.events)


class Bench:
    """A runtime and the loop it lives on."""

    def __init__(self, home: Path, **options: Any) -> None:
        self.home = home
        self.logs = KeptLogs()
        self.runner = asyncio.Runner(loop_factory=uvloop.new_event_loop)
        self.functions = self.wait(self._open(options))
        self._requests = 0

    async def _open(self, options: dict[str, Any]) -> Functions:
        endpoint = options.pop("endpoint", "http://127.0.0.1:9")
        functions = Functions(self.home, SystemClock(), SystemRandom(), self.logs, endpoint, **options)
        await functions.start()
        return functions

    def wait(self, work: Any) -> Any:
        return self.runner.run(work)

    def close(self) -> None:
        self.wait(self.functions.stop())
        self.runner.close()

    def package(self, files: Mapping[str, str | bytes]) -> str:
        """Zip and unpack files; the name of the code."""
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w") as archive:
            for name, text in files.items():
                entry = zipfile.ZipInfo(name)
                program = isinstance(text, str | bytes) and text[:2] in {"#!", b"#!", b"\x7fE"}
                entry.external_attr = (0o100755 if program else 0o100644) << 16
                archive.writestr(entry, text)
        data = buffer.getvalue()
        digest = hashlib.sha256(data).hexdigest()
        path = self.home / f"{digest}.zip"
        path.write_bytes(data)
        return self.wait(self.functions.unpack(BlobRef(digest, len(data)), str(path)))

    def version(self, files: Mapping[str, str | bytes], **fields: Any) -> FunctionVersion:
        code = self.package(files)
        values: dict[str, Any] = {
            "name": "f", "version": "$LATEST", "account": "000000000000", "region": "us-east-1",
            "runtime": "python3.11", "handler": "app.handler", "memory_mb": 128, "timeout_s": 5, "code": code,
            "log_group": "/aws/lambda/f",
            "credentials": lambda: RoleSession("ASIATEST", "secret", "token", FAR_MS),
        }  # fmt: skip
        values |= fields
        values.setdefault("arn", f"arn:aws:lambda:us-east-1:000000000000:function:{values['name']}")
        values.setdefault("revision", hashlib.sha256(repr(sorted(map(repr, values.items()))).encode()).hexdigest())
        return FunctionVersion(**values)

    async def invoke_soon(self, version: FunctionVersion, payload: bytes = b"{}", **more: Any) -> InvokeOutcome:
        self._requests += 1
        more.setdefault("request_id", f"00000000-0000-4000-8000-{self._requests:012d}")
        more.setdefault("trace_header", "Root=1-5759e988-bd862e3fe1be46a994272793;Parent=53995c3f42cd8ad8;Sampled=1")
        return await self.functions.invoke(version, payload, **more)

    def invoke(self, version: FunctionVersion, payload: bytes = b"{}", **more: Any) -> InvokeOutcome:
        return self.wait(self.invoke_soon(version, payload, **more))


@pytest.fixture(scope="module")
def bench(tmp_path_factory):
    """The best rung this machine has."""
    bench = Bench(tmp_path_factory.mktemp("home"))
    yield bench
    bench.close()


@pytest.fixture
def make_bench(tmp_path):
    """Runtimes with options of their own."""
    made = []

    def make(**options: Any) -> Bench:
        bench = Bench(tmp_path, **options)
        made.append(bench)
        return bench

    yield make
    for bench in made:
        bench.close()
