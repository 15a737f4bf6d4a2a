"""The sandbox ladder: what confines functions here, what a higher rung would take, and which rung people insist on."""

import os
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

FULL, NAMESPACES, LANDLOCK, PROCESS = "full", "namespaces", "landlock", "process"
LADDER: Final = (PROCESS, LANDLOCK, NAMESPACES, FULL)
"""Lowest first."""

MEANINGS: Final = {
    FULL: "own namespaces (processes, mounts, network, ipc, host name), read-only tree, system call filter, Landlock, "
    "own user; memory, CPU and processes limited by the kernel",
    NAMESPACES: "as full, but one user for all or no control groups: memory is looked at ten times a second, "
    "CPU is not limited",
    LANDLOCK: "Landlock, system call filter and limits of processes; the host's processes and network are shared",
    PROCESS: "limits of processes alone: functions are trusted with all that Tule may do",
}


@dataclass(frozen=True, slots=True)
class Rung:
    """What confines functions."""

    name: str
    text: str
    """In words, for people."""
    missing: tuple[tuple[str, str], ...] = ()
    """What keeps it from the next rung: (what is missing, how to get it)."""


def rung_of(hello: dict[str, Any]) -> Rung:
    """The rung that a runner offers, by its first words."""
    if hello["tree"]:
        groups = "memory" in hello["controllers"]
        whole = hello["root"] and groups and hello["network"] and hello["landlock"] and hello["seccomp"]
        name = FULL if whole else NAMESPACES
    else:
        name = LANDLOCK if hello["landlock"] else PROCESS
    return Rung(name, f"{name} ({', '.join(_parts(hello))})", tuple(_missing(hello)))


def _parts(hello: dict[str, Any]) -> list[str]:
    parts = []
    if hello["tree"]:
        shared = "processes, mounts, network" if hello["network"] else "processes, mounts; the host's network"
        parts.append(f"namespaces: {shared}")
        parts.append("own user each" if hello["root"] else "one user for all")
    if hello["landlock"]:
        parts.append("Landlock")
    if hello["seccomp"]:
        parts.append("system call filter")
    limited = hello["controllers"]
    if limited:
        names = {"memory": "memory", "cpu": "CPU", "pids": "processes"}
        parts.append(f"{', '.join(names[one] for one in limited)} by cgroup v{hello['groups']}")
    else:
        parts.append("memory watched")
    if not hello["tree"]:
        parts.append("no own /tmp (TMPDIR instead)")
    return parts


def _missing(hello: dict[str, Any]) -> list[tuple[str, str]]:
    """What the highest rung would take, most important first."""
    if sys.platform != "linux":
        return [
            ("Linux", "Functions are only confined on Linux: run Tule there (or in WSL2) for more than development.")
        ]
    missing = []
    if not hello["tree"]:
        missing.append(("namespaces", why_no_namespaces()))
    if not hello["landlock"]:
        missing.append(
            ("Landlock", "It takes Linux 5.13 or newer with `landlock` in /sys/kernel/security/lsm (lsm=...).")
        )
    if not hello["seccomp"]:
        missing.append(
            ("a system call filter", f"Its table isn't known for {os.uname().machine}: x86_64 and aarch64 are.")
        )
    if hello["tree"] and not hello["network"]:
        missing.append(("networks of their own", "The kernel lacks nf_tables with redirection (CONFIG_NFT_REDIR)."))
    if not hello["root"]:
        missing.append(("a user for each function", "Run Tule as root: an ordinary user has no others to give."))
    if hello["tree"] and "memory" not in hello["controllers"]:
        missing.append(("control groups", _why_no_groups()))
    return missing


def why_no_namespaces() -> str:
    """What keeps an ordinary user from namespaces, most likely, and the way out."""
    apparmor = (
        "AppArmor keeps ordinary users from them: sudo sysctl kernel.apparmor_restrict_unprivileged_userns=0, "
        "or give Tule's Python an AppArmor profile with `userns,`."
    )
    switches = (
        ("/proc/sys/kernel/apparmor_restrict_unprivileged_userns", "1", apparmor),
        ("/proc/sys/kernel/unprivileged_userns_clone", "0", "sudo sysctl kernel.unprivileged_userns_clone=1"),
        ("/proc/sys/user/max_user_namespaces", "0", "sudo sysctl user.max_user_namespaces=10000"),
    )
    for path, value, fix in switches:
        try:
            found = Path(path).read_text().strip()
        except OSError:
            continue
        if found == value and os.geteuid() != 0:
            return fix
    if os.geteuid() == 0:
        return (
            "Even root may make none here, as in a container without privileges: give it CAP_SYS_ADMIN (--privileged)."
        )
    return "The kernel gives ordinary users no namespaces here, as in a container: run Tule as root or outside of it."


def _why_no_groups() -> str:
    if os.geteuid() == 0:
        return "No writable cgroup hierarchy with a memory controller is mounted below /sys/fs/cgroup."
    return (
        "systemd must delegate them: systemd-run --user --scope -p Delegate=yes tule up, "
        "or Delegate=yes in Tule's unit. (cgroup v2 alone can be delegated.)"
    )


class TooLowError(Exception):
    """This machine's rung is below the one that was asked for. Says what is missing."""


def require(found: Rung, least: str) -> None:
    """Raises `TooLowError` where functions would run below the rung `least` ("" for any)."""
    if not least or LADDER.index(found.name) >= LADDER.index(least):
        return
    lacking = " ".join(f"Missing: {what}. {fix}" for what, fix in found.missing)
    raise TooLowError(
        f"Functions may not run here: --min-sandbox asks for {least}, this machine offers {found.name}. {lacking}"
    )


def look(*, bare: bool = False) -> Rung:
    """What a runner would find here, tried out in a child process."""
    if sys.platform != "linux":
        return rung_of(
            {
                "tree": False, "root": False, "landlock": 0, "seccomp": False, "network": False, "groups": 0,
                "controllers": (),
            }
        )  # fmt: skip
    from tule.runtime import groups, runner
    from tule.runtime.bootstrap import landlock, seccomp

    with tempfile.TemporaryDirectory() as scratch:
        offered = 0 if bare else runner.probe(scratch)
    found = groups.Groups()
    if offered:
        found = groups.Groups.find(f"tule-{os.getpid()}-look")
        found.remove()
    return rung_of(
        {
            "tree": offered > 0, "root": os.geteuid() == 0, "landlock": landlock.version(),
            "seccomp": seccomp.known(), "network": offered > 1, "groups": found.version,
            "controllers": found.controllers,
        }
    )  # fmt: skip
