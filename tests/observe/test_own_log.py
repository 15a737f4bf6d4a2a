"""Tule's own log keeps secrets to itself and its files small."""

import io
from pathlib import Path

import pytest

from tule.observe.ownlog import HIDDEN, RotatingFile, Sink, without_secrets


@pytest.mark.parametrize(
    "event",
    [
        {"secret": "hunter2"},
        {"session_token": "hunter2"},
        {"Authorization": "AWS4-HMAC-SHA256 hunter2"},
        {"event": "sent Authorization: Bearer hunter2"},
        {"path": "/b/k?X-Amz-Signature=hunter2&x=1"},
        {"exception": "x-amz-security-token=hunter2"},
        {"event": 'aws_secret_access_key = "hunter2"'},
    ],
)
def test_secrets_are_hidden(event: dict[str, str]):
    shown = without_secrets(None, "info", dict(event))
    assert "hunter2" not in repr(shown)
    assert HIDDEN in repr(shown)


def test_the_rest_is_left_alone():
    event = {"event": "request failed", "path": "/q?x=1", "number": 4}
    assert without_secrets(None, "info", dict(event)) == event


def test_a_full_file_makes_room_and_the_oldest_goes(tmp_path: Path):
    log = RotatingFile(tmp_path / "tule.log", max_bytes=100, kept=3)
    for number in range(60):
        log.line(f"line {number:02d} of many")
    log.close()
    names = sorted(file.name for file in tmp_path.iterdir())
    assert names == ["tule.log", "tule.log.1", "tule.log.2"]
    assert "line 59" in (tmp_path / "tule.log").read_text()
    assert all(file.stat().st_mode & 0o777 == 0o600 for file in tmp_path.iterdir())


class GoneTerminal(io.StringIO):
    def write(self, text: str) -> int:
        raise BrokenPipeError(32, "Broken pipe")


def test_a_terminal_that_has_gone_fails_nobody(tmp_path: Path):
    file = RotatingFile(tmp_path / "tule.log", max_bytes=1_000, kept=2)
    sink = Sink(file, GoneTerminal())
    sink.warning("still told")
    file.close()
    assert "still told" in (tmp_path / "tule.log").read_text()
    Sink(None, GoneTerminal()).error("told to nobody")
