"""tule up"""

import json
import os
import sys
from typing import Any

import click

from tule.cli.outcome import FAILED, USAGE, Failure


@click.command("up")
@click.option("--dir", "dir_", metavar="PATH", help="Tule's home; ~/.tule unless given.")
@click.option("--memory", is_flag=True, default=None, help="Keep nothing: the store is in memory.")
@click.option("--store", metavar="URL", help="postgresql://... instead of the embedded store.")
@click.option("--port", type=int, help="Port to listen on (4566); 0 takes a free one.")
@click.option("--host", metavar="ADDRESS", help="Address to listen on; 127.0.0.1 and ::1 unless given.")
@click.option("--public-url", metavar="URL", help="How others reach this Tule.")
@click.option("--region", help="Region of requests that name none (us-east-1).")
@click.option("--verify-signatures", is_flag=True, default=None, help="Refuse requests not signed with a known key.")
@click.option("--production", is_flag=True, default=None, help="Enforce permissions; refuses until there is an engine.")
@click.option("--min-sandbox", metavar="RUNG", help="Refuse to start below full, namespaces, landlock or process.")
@click.option("--egress", metavar="WHERE", help="Where functions may connect to: all, tule-only or none.")
@click.option("--host-port", "host_ports", type=int, multiple=True, help="Let functions reach localhost:PORT of here.")
@click.option("--log-level", type=click.Choice(["debug", "info", "warning", "error"]), help="Of Tule's own log.")
@click.option("--detach", is_flag=True, help="Return when Tule is ready and leave it running.")
@click.option("--json", "as_json", is_flag=True, default=None, help="Print one JSON document when ready.")
def command(*, dir_: str | None, detach: bool, as_json: bool | None, **flags: Any) -> int:
    """Start Tule and stay until it ends (Ctrl-C or `tule down`)."""
    flags["host_ports"] = list(flags["host_ports"]) or None
    given = {name: value for name, value in {"dir": dir_, "json": as_json, **flags}.items() if value is not None}
    program = [sys.executable, "-m", "tule.app", json.dumps(given)]
    if not detach:
        sys.stdout.flush()
        os.execv(sys.executable, program)  # noqa: S606 - this very interpreter, and no shell
    return _detached(program)


def _detached(program: list[str]) -> int:
    """Start Tule in a session of its own; print its banner when it is ready, or its complaint when it is not."""
    import subprocess

    read_end, write_end = os.pipe()
    process = subprocess.Popen(  # noqa: S603 - this very interpreter, and no shell
        [*program, str(write_end)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        start_new_session=True,
        pass_fds=(write_end,),
    )
    os.close(write_end)
    try:
        with os.fdopen(read_end, encoding="utf-8") as ready:
            banner = ready.read()
    except KeyboardInterrupt:
        process.terminate()  # it is in a session of its own, where Ctrl-C does not reach it
        process.wait()
        raise
    if banner:
        print(banner, end="")
        return 0
    assert process.stderr is not None
    complaint = process.stderr.read().decode(errors="replace").strip()
    process.wait()
    if process.returncode not in (FAILED, USAGE):
        raise Failure(f"Tule ended before it was ready.\n{complaint}", "Start it without --detach to see more.")
    print(complaint, file=sys.stderr)
    return int(process.returncode)
