"""Whether another process is there, by which folders and notes named for one are judged; and what ours may open."""

import os
import resource
from contextlib import suppress
from typing import Final

FILES: Final = 65_536
"""Descriptors that are asked for: a thousand instances take four each, besides connections and the store."""


def open_many_files() -> None:
    """Let this process open as many as the system allows it; a shell's usual 1,024 are for programs that use select."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = FILES if hard == resource.RLIM_INFINITY else min(FILES, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        with suppress(OSError, ValueError):  # macOS has a lower bound of its own
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def lives(pid: int) -> bool:
    """Whether there is a process `pid`, ours or not. A zombie counts until its parent has collected it."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
