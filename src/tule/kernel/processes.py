"""Whether another process is there: what folders and notes named for a process are judged by."""

import os


def lives(pid: int) -> bool:
    """Whether there is a process `pid`, ours or not. A zombie counts until its parent has collected it."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
