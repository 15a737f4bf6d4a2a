"""Spans are kept, found by trace, bounded, and never waited for."""

import asyncio
from pathlib import Path

import pytest

from tule.kernel.clocks import SystemClock
from tule.kernel.context import TraceContext, new_trace
from tule.kernel.ports import Span
from tule.kernel.randomness import SeededRandom
from tule.observe import spans as spans_module
from tule.observe.spans import SpanRecorder
from tule.observe.tracefile import StoredSpan, TraceFile

NOW_S = 1_790_000_000


def span(trace: TraceContext, name: str, start_us: int, **more) -> Span:
    start = NOW_S * 1_000_000 + start_us
    return Span(trace, name, "api", start, start + 10, "000000000000", "us-east-1", **more)


def stored(root: str, span_id: str, start_us: int) -> StoredSpan:
    start = NOW_S * 1_000_000 + start_us
    return StoredSpan(root, span_id, "", "x" * 50, "api", start, start + 5, "0", "r", "", "ok", "", (), ())


@pytest.mark.parametrize("path", ["", "traces.db"])
def test_a_trace_is_found_whole_and_in_order(path: str, tmp_path: Path):
    random = SeededRandom(1)
    one, other = new_trace(random, NOW_S), new_trace(random, NOW_S)

    async def record() -> tuple[list[StoredSpan], list[StoredSpan]]:
        recorder = SpanRecorder(SystemClock(), TraceFile(str(tmp_path / path) if path else ""))
        recorder.record(span(one.child(random), "second", 5, units=(("sqs.requests", 1),), notes=(("a", "b"),)))
        recorder.record(span(other, "stranger", 3))
        recorder.record(span(one, "first", 0))
        recorder.settle()
        found = await asyncio.to_thread(recorder.trace, one.root)
        newest = await asyncio.to_thread(recorder.recent, 10)
        await asyncio.to_thread(recorder.close)
        return found, newest

    found, newest = asyncio.run(record())
    assert [hop.name for hop in found] == ["first", "second"]
    assert found[1].parent == one.span
    assert found[1].units == (("sqs.requests", 1),)
    assert found[1].notes == (("a", "b"),)
    assert [hop.name for hop in newest] == ["stranger", "first"]


def test_traces_outlive_the_process_in_a_private_file(tmp_path: Path):
    path = tmp_path / "traces.db"
    first = TraceFile(str(path))
    first.append([stored("1-6ab00000-0", "s1", 0)])
    first.close()
    again = TraceFile(str(path))
    assert [hop.span for hop in again.trace("1-6ab00000-0")] == ["s1"]
    again.close()
    assert path.stat().st_mode & 0o777 == 0o600


def test_the_oldest_spans_go_when_the_file_is_full():
    file = TraceFile("", max_bytes=4_000)
    for number in range(200):
        file.append([stored(f"1-00000000-{number}", f"s{number}", number)])
    assert file.trace("1-00000000-0") == []
    assert [hop.span for hop in file.trace("1-00000000-199")] == ["s199"]


def test_what_finds_no_room_is_shed_and_counted(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(spans_module, "MAX_PENDING", 5)
    trace = new_trace(SeededRandom(2), NOW_S)

    async def record() -> tuple[int, int]:
        recorder = SpanRecorder(SystemClock(), TraceFile(""))
        for number in range(8):
            recorder.record(span(trace, str(number), number))
        recorder.settle()
        found = await asyncio.to_thread(recorder.trace, trace.root)
        await asyncio.to_thread(recorder.close)
        return len(found), recorder.shed

    assert asyncio.run(record()) == (5, 3)
