"""tule down"""

import os
import signal

import click

from tule.cli.outcome import Failure, json_option, show_json
from tule.cli.running import find, target_options
from tule.kernel.processes import lives


@click.command("down")
@target_options
@click.option(
    "--timeout", type=click.FloatRange(0), default=30.0, show_default=True, help="Seconds to wait for the end."
)
@json_option
def command(directory: str | None, port: int | None, timeout: float, *, as_json: bool) -> None:
    """Stop a running Tule: it answers what it has begun, writes what is waiting and ends."""
    running = find(directory, port)
    status = running.admin("GET", "status")  # proves that the pid is still Tule's and not another program's
    os.kill(status["pid"], signal.SIGTERM)
    if not _ended(status["pid"], timeout):
        raise Failure(
            f"Tule (pid {running.pid}) has not ended within {timeout:g} s.", "Wait longer with --timeout, or kill it."
        )
    if as_json:
        show_json({"stopped": running.pid})
    else:
        print(f"Tule (pid {running.pid}) has stopped.")


def _ended(pid: int, timeout: float) -> bool:
    """Wait for the end of a process that is not our child."""
    import select

    if not hasattr(os, "pidfd_open"):
        from tule.kernel.clocks import SystemClock

        return _ended_by_asking(pid, timeout, SystemClock())
    try:
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        return True
    try:
        return bool(select.select([descriptor], [], [], timeout)[0])
    finally:
        os.close(descriptor)


def _ended_by_asking(pid: int, timeout: float, machine: object) -> bool:
    """Where the system has no descriptor for a process (macOS), ask ten times a second."""
    import select

    from tule.kernel.clocks import SystemClock

    assert isinstance(machine, SystemClock)
    until_s = machine.monotonic_s() + timeout
    while lives(pid):
        if machine.monotonic_s() > until_s:
            return False
        select.select([], [], [], 0.1)
    return True
