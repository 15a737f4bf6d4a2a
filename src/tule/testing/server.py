"""A real Tule in a process of its own, for tests: ours and our users'."""

import io
import json
import os
import select
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self
from urllib.request import Request, urlopen

READY_WITHIN_S: Final = 60.0
"""A guard against a process that hangs, not an expectation."""

STOPPED_WITHIN_S: Final = 60.0
ADMIN_TIMEOUT_S: Final = 120.0

SECRET: Final = "test"  # noqa: S105 - keys that nobody minted have any secret


class TuleFailedError(AssertionError):
    """The process ended before it was ready; the message has what it printed."""


class Tule:
    """Starts Tule and waits until it is ready. Without `directory` it keeps everything in memory.

    Flags are those of `tule up` with underscores: Tule(verify_signatures=True).
    """

    def __init__(self, directory: str | os.PathLike[str] | None = None, **flags: Any) -> None:
        self._temporary = tempfile.mkdtemp(prefix="tule-test-") if directory is None else ""
        self.directory = Path(directory or self._temporary)
        if directory is None and "store" not in flags:
            flags.setdefault("memory", True)
        flags.setdefault("port", 0)
        self._environment = flags.pop("environment", {})
        self._flags = {"dir": str(self.directory), "json": True, **flags}
        self._log = Path(tempfile.mkstemp(prefix="tule-test-", suffix=".log")[1])
        self.process: subprocess.Popen[bytes]
        self.status: dict[str, Any]
        self.start()

    # -- life

    def start(self) -> None:
        """Start the process, again after `stop` or `kill`, and wait for its ready line."""
        self._begin()
        self.status = json.loads(self._ready_line())
        self.url: str = self.status["url"]

    def kill_while_starting(self, after_s: float) -> None:
        """Start the process, and SIGKILL it so much later, ready or not."""
        self._begin()
        with suppress(subprocess.TimeoutExpired):
            self.process.wait(after_s)
        self.kill()

    def _begin(self) -> None:
        command = [sys.executable, "-m", "tule.cli.main", "up", *_options(self._flags)]
        with self._log.open("ab") as log:
            self.process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=log,
                env={**os.environ, **self._environment},
            )

    def _ready_line(self) -> bytes:
        assert self.process.stdout is not None
        if not select.select([self.process.stdout], [], [], READY_WITHIN_S)[0]:
            self.kill()
            raise TuleFailedError(f"Tule was not ready within {READY_WITHIN_S:g} s.\n{self.output()}")
        line: bytes = self.process.stdout.readline()
        if not line:
            code = self.process.wait()
            self.process.stdout.close()
            raise TuleFailedError(f"Tule ended with code {code} before it was ready.\n{self.output()}")
        return line

    def stop(self) -> int:
        """SIGTERM, and wait for the end. Returns the exit code."""
        return self._end(signal.SIGTERM)

    def kill(self) -> int:
        """SIGKILL: what a crash is to the store."""
        return self._end(signal.SIGKILL)

    def _end(self, number: signal.Signals) -> int:
        if self.process.poll() is None:
            self.process.send_signal(number)
        code = self.process.wait(STOPPED_WITHIN_S)
        if self.process.stdout is not None:
            self.process.stdout.close()
        return code

    def close(self) -> None:
        """Stop, and remove what was temporary."""
        self.stop()
        self._log.unlink(missing_ok=True)
        if self._temporary:
            shutil.rmtree(self._temporary, ignore_errors=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def output(self) -> str:
        """What the process wrote to stderr."""
        return self._log.read_text(encoding="utf-8", errors="replace")

    # -- speaking to it

    @property
    def port(self) -> int:
        return int(self.url.rpartition(":")[2])

    @property
    def token(self) -> str:
        """The admin API's."""
        return (self.directory / "admin-token").read_text(encoding="ascii").strip()

    def client(self, service: str, account: str = "000000000000", region: str = "us-east-1", **options: Any) -> Any:
        """A boto3 client without retries, in `account`. Options are boto3's.

        An Invoke's Payload has been read, so that no connection hangs on an answer that nobody looks at.
        """
        import boto3
        from botocore.config import Config

        config = Config(retries={"max_attempts": 0, "mode": "standard"}, read_timeout=120).merge(
            options.pop("config", Config())
        )
        keys = {"aws_access_key_id": account, "aws_secret_access_key": SECRET, **options}
        session: Any = boto3.session.Session()
        made = session.client(service, region_name=region, endpoint_url=self.url, config=config, **keys)
        made.meta.events.register("after-call.lambda.Invoke", _read_payload)
        return made

    def admin(self, path: str, body: Any = None, *, method: str | None = None) -> Any:
        """Call the admin API (`path` under /_tule/v1/): GET, or POST when there is a body. Returns its JSON."""
        data = None if body is None else json.dumps(body).encode()
        request = Request(  # noqa: S310 - a loopback URL
            f"{self.url}/_tule/v1/{path}",
            data=data,
            method=method or ("GET" if body is None else "POST"),
            headers={"Authorization": f"Bearer {self.token}", "Content-Type": "application/json"},
        )
        with urlopen(request, timeout=ADMIN_TIMEOUT_S) as answer:  # noqa: S310 - a loopback URL
            return json.loads(answer.read())

    def root_keys(self) -> dict[str, str]:
        """The root pair, as boto3 takes it."""
        pair = self.admin("credentials")
        return {"aws_access_key_id": pair["access_key_id"], "aws_secret_access_key": pair["secret_access_key"]}

    def clock_pause(self) -> dict[str, Any]:
        """Let service time stand still."""
        answer: dict[str, Any] = self.admin("clock/pause", method="POST")
        return answer

    def clock_resume(self) -> dict[str, Any]:
        """Let service time go on."""
        answer: dict[str, Any] = self.admin("clock/resume", method="POST")
        return answer

    def advance(self, duration: str) -> dict[str, Any]:
        """Leap ahead ("15m"); returns when what became due has happened."""
        answer: dict[str, Any] = self.admin("clock/advance", {"duration": duration})
        return answer

    def digest(self) -> str:
        """A hash over everything that requests wrote."""
        digest: str = self.admin("store")["digest"]
        return digest


def free_port() -> int:
    """A port that nobody has now: for a Tule that shall be found where it was after it is started again."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
    return port


def _options(flags: dict[str, Any]) -> list[str]:
    options: list[str] = []
    for name, value in flags.items():
        option = "--" + name.replace("_", "-")
        if value is True:
            options.append(option)
        elif value is not False and value is not None:
            options += [option, str(value)]
    return options


def _read_payload(parsed: dict[str, Any], **_: Any) -> None:
    from botocore.response import StreamingBody

    if "Payload" in parsed:
        payload = parsed["Payload"].read()
        parsed["Payload"] = StreamingBody(io.BytesIO(payload), len(payload))
