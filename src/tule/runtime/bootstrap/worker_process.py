"""The process behind `tule.runtime.worker`: limits itself, runs one function, answers, ends."""

import ctypes
import importlib
import os
import resource
import signal
import sys
from typing import Any

import msgspec

PR_SET_PDEATHSIG = 1
PR_SET_NO_NEW_PRIVS = 38

FILES_MAX = 256
FILE_BYTES_MAX = 300 * 1024 * 1024
"""One file that a worker writes (ours): a whole unzipped package and a little."""


def limit(memory_bytes: int, time_s: float, parent: int) -> None:
    """Die with Tule, gain no privileges, and stay within bounds that the kernel keeps."""
    if sys.platform == "linux":
        libc = ctypes.CDLL(None, use_errno=True)
        libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
        if os.getppid() != parent:
            sys.exit(1)
        resource.setrlimit(resource.RLIMIT_AS, (memory_bytes, memory_bytes))
    seconds = int(time_s) + 1
    resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_NOFILE, (FILES_MAX, FILES_MAX))
    resource.setrlimit(resource.RLIMIT_FSIZE, (FILE_BYTES_MAX, FILE_BYTES_MAX))
    os.nice(5)


def work(entry: str, payload: Any) -> Any:
    module, _, function = entry.partition(":")
    return getattr(importlib.import_module(module), function)(payload)


def main(entry: str, memory: str, time_s: str, parent: str) -> int:
    answers = os.dup(1)
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # whatever the work prints is no answer
    limit(int(memory), float(time_s), int(parent))
    payload = msgspec.msgpack.decode(sys.stdin.buffer.read())
    try:
        answer = ("done", work(entry, payload))
    except MemoryError:
        answer = ("failed", "The work needed more memory than a worker may have.")
    except OSError as error:
        answer = ("broken", f"{type(error).__name__}: {error}")
    except Exception as error:  # noqa: BLE001 - whatever it is, the caller is told
        answer = ("failed", f"{type(error).__name__}: {error}")
    with os.fdopen(answers, "wb") as pipe:
        pipe.write(msgspec.msgpack.encode(answer))
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:5]))
