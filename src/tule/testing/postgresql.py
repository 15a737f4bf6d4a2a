"""A PostgreSQL server of one's own: Debian's binaries, a temporary directory, a private socket, an ordinary user."""

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Final, Self

START_TIMEOUT_S: Final = 30
_USER: Final = "postgres"


class PostgreSQLMissingError(Exception):
    """There are no server binaries; the message says how to get them."""


def binaries() -> Path:
    """The folder of the newest server that is installed."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres"), key=lambda path: int(path.parts[-3]))
    if found:
        return found[-1].parent
    on_path = shutil.which("postgres")
    if on_path is not None:
        return Path(on_path).parent
    raise PostgreSQLMissingError("There is no PostgreSQL server here. Install one: apt-get install postgresql")


class PostgresServer:
    """Runs between `start` and `stop`; listens on a socket in its own directory and on no network."""

    def __init__(self) -> None:
        self.directory = Path(tempfile.mkdtemp(prefix="tule-pg-"))
        self._binaries = binaries()
        self._process: subprocess.Popen[bytes] | None = None
        self._as_user: list[str] = []
        if os.geteuid() == 0:
            # The server refuses to run as root.
            entry = pwd.getpwnam(_USER)
            shutil.chown(self.directory, entry.pw_uid, entry.pw_gid)
            self._as_user = ["setpriv", f"--reuid={entry.pw_uid}", f"--regid={entry.pw_gid}", "--clear-groups"]

    def start(self, **settings: str) -> Self:
        """Make the cluster if it is new, start the server and wait until it answers; it syncs as in production."""
        data = self.directory / "data"
        if not data.exists():
            self._run("initdb", "--pgdata", str(data), "--username", _USER, "--auth", "trust", "--no-sync")
        options = {"listen_addresses": "", "unix_socket_directories": str(self.directory), **settings}
        command = [str(self._binaries / "postgres"), "-D", str(data)]
        for name, value in options.items():
            command += ["-c", f"{name}={value}"]
        with (self.directory / "log").open("ab") as log:
            self._process = subprocess.Popen([*self._as_user, *command], stdout=log, stderr=log, cwd="/")
        self._await_ready()
        return self

    @property
    def url(self) -> str:
        return self.database_url("postgres")

    def database_url(self, name: str) -> str:
        return f"postgresql:///{name}?host={self.directory}&user={_USER}"

    def fresh_database(self, name: str) -> str:
        """The URL of a new, empty database."""
        self._run("createdb", "--host", str(self.directory), "--username", _USER, name)
        return self.database_url(name)

    def stop(self, how: signal.Signals = signal.SIGINT) -> None:
        """End the server: SIGINT ends sessions and stops cleanly, SIGQUIT stops as a crash does."""
        if self._process is not None:
            self._process.send_signal(how)
            self._process.wait(START_TIMEOUT_S)
            self._process = None

    def remove(self) -> None:
        self.stop()
        shutil.rmtree(self.directory, ignore_errors=True)

    def _run(self, program: str, *arguments: str) -> None:
        command = [*self._as_user, str(self._binaries / program), *arguments]
        done = subprocess.run(command, capture_output=True, text=True, check=False, cwd="/")
        if done.returncode != 0:
            raise RuntimeError(f"{program} failed: {done.stderr or done.stdout}")

    def _await_ready(self) -> None:
        """The server writes "ready" as the last line of its pid file when it takes connections."""
        assert self._process is not None, "started above"
        status = self.directory / "data" / "postmaster.pid"
        deadline = time.monotonic() + START_TIMEOUT_S
        while time.monotonic() < deadline:
            if self._process.poll() is not None:
                raise RuntimeError(f"PostgreSQL ended: {(self.directory / 'log').read_text()[-2000:]}")
            if status.exists() and status.read_text().rstrip().endswith("ready"):
                return
            time.sleep(0.01)
        raise RuntimeError("PostgreSQL did not become ready.")
