"""The syscall filter of functions: a BPF program, made here, that refuses what no function needs.

Modelled on the list of Docker's default profile: what that grants to nobody without a capability is refused here.
Refused calls fail with "Operation not permitted"; calls by another architecture's table end the process.
"""

import ctypes
import os
import struct
from collections.abc import Sequence

from . import confinement

PR_SET_SECCOMP, SECCOMP_MODE_FILTER = 22, 2
KILL_PROCESS, ERRNO, ALLOW = 0x80000000, 0x00050000, 0x7FFF0000
EPERM, ENOSYS, EAFNOSUPPORT = 1, 38, 97

AUDIT_ARCH = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
X32_BIT = 0x40000000
"""x86_64's second table, of 32-bit pointers: nobody needs it, and its numbers would pass by the list."""

LOAD, JUMP_EQUAL, JUMP_AT_LEAST, JUMP_BITS, AND, RETURN = 0x20, 0x15, 0x35, 0x45, 0x54, 0x06
NUMBER, ARCH, ARGUMENTS = 0, 4, 16

NAMESPACE_FLAGS = 0x7E020000
"""clone's flags that make namespaces: mount, cgroup, uts, ipc, user, pid, net."""

AF_UNIX, AF_INET, AF_INET6, AF_NETLINK = 1, 2, 10, 16
SOCK_TYPE, SOCK_RAW = 0xF, 3
NETLINK_ROUTE = 0
"""What libc asks for the names and addresses of interfaces."""

PERSONALITIES = (0x0, 0x8, 0x20000, 0x20008, 0xFFFFFFFF)
"""Docker's: Linux, 32-bit addresses, uname as of 2.6, and asking."""

REFUSED = {  # name: (x86_64, aarch64), 0 where there is no such call
    "_sysctl": (156, 0), "acct": (163, 89), "add_key": (248, 217), "bpf": (321, 280), "chroot": (161, 51),
    "clock_adjtime": (305, 266), "clock_settime": (227, 112), "create_module": (174, 0), "delete_module": (176, 106),
    "fanotify_init": (300, 262), "finit_module": (313, 273), "fsconfig": (431, 431), "fsmount": (432, 432),
    "fsopen": (430, 430), "fspick": (433, 433), "get_kernel_syms": (177, 0), "init_module": (175, 105),
    "io_uring_enter": (426, 426), "io_uring_register": (427, 427), "io_uring_setup": (425, 425), "ioperm": (173, 0),
    "iopl": (172, 0), "kcmp": (312, 272), "kexec_file_load": (320, 294), "kexec_load": (246, 104),
    "keyctl": (250, 219), "lookup_dcookie": (212, 18), "mbind": (237, 235), "migrate_pages": (256, 238),
    "mount": (165, 40), "mount_setattr": (442, 442), "move_mount": (429, 429), "move_pages": (279, 239),
    "name_to_handle_at": (303, 264), "nfsservctl": (180, 42), "open_by_handle_at": (304, 265),
    "open_tree": (428, 428), "open_tree_attr": (467, 467), "perf_event_open": (298, 241), "pidfd_getfd": (438, 438),
    "pivot_root": (155, 41), "process_madvise": (440, 440), "process_vm_readv": (310, 270),
    "process_vm_writev": (311, 271), "ptrace": (101, 117), "query_module": (178, 0), "quotactl": (179, 60),
    "quotactl_fd": (443, 443), "reboot": (169, 142), "request_key": (249, 218), "set_mempolicy": (238, 237),
    "set_mempolicy_home_node": (450, 450), "setdomainname": (171, 162), "sethostname": (170, 161), "setns": (308, 268),
    "settimeofday": (164, 170), "swapoff": (168, 225), "swapon": (167, 224), "syslog": (103, 116), "sysfs": (139, 0),
    "umount2": (166, 39), "unshare": (272, 97), "uselib": (134, 0), "userfaultfd": (323, 282), "ustat": (136, 0),
    "vhangup": (153, 58),
}  # fmt: skip
CLONE, CLONE3, SOCKET, PERSONALITY = (56, 220), (435, 435), (41, 198), (135, 92)


def program(machine: str, more: Sequence[str] = ()) -> bytes:
    """The filter's instructions for a machine, with the calls named in `more` let pass. Raises KeyError for a machine
    whose table isn't known."""
    column = list(AUDIT_ARCH).index(machine)
    numbers = sorted(calls[column] for name, calls in REFUSED.items() if calls[column] and name not in more)
    special = {
        CLONE[column]: _clone() if "unshare" not in more else [_ret(ALLOW)],
        CLONE3[column]: [_ret(ERRNO | ENOSYS)],  # its flags lie in memory, where a filter can't look: libc takes clone
        SOCKET[column]: _socket(),
        PERSONALITY[column]: _personality(),
    }
    code = [
        _load(ARCH), _jump(JUMP_EQUAL, AUDIT_ARCH[machine], 1, 0), _ret(KILL_PROCESS),
        _load(NUMBER),
    ]  # fmt: skip
    if machine == "x86_64":
        code += [_jump(JUMP_AT_LEAST, X32_BIT, 0, 1), _ret(ERRNO | ENOSYS)]
    for number, steps in special.items():
        code += [_jump(JUMP_EQUAL, number, 0, len(steps)), *steps]
    return b"".join(code + _search(numbers))


def install(filter_: bytes) -> None:
    """Put the calling process and its children under a filter, for good. Needs no-new-privileges or root."""
    count = len(filter_) // 8
    memory = ctypes.create_string_buffer(filter_, len(filter_))
    head = struct.pack("=HxxxxxxQ", count, ctypes.addressof(memory))
    result = confinement.libc.prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, head, 0, 0)
    confinement.checked(result, "seccomp")


def known() -> bool:
    """Whether this machine's table is known."""
    return os.uname().machine in AUDIT_ARCH


def _search(numbers: Sequence[int]) -> list[bytes]:
    """Refuse any of these numbers: a binary search, since every syscall that the kernel can't cache walks it."""
    if len(numbers) <= 3:
        count = len(numbers)
        tests = [_jump(JUMP_EQUAL, number, count - at, 0) for at, number in enumerate(numbers)]
        return [*tests, _ret(ALLOW), _ret(ERRNO | EPERM)]
    middle = len(numbers) // 2
    low, high = _search(numbers[:middle]), _search(numbers[middle:])
    return [_jump(JUMP_AT_LEAST, numbers[middle], len(low), 0), *low, *high]


def _clone() -> list[bytes]:
    return [_load(ARGUMENTS), _jump(JUMP_BITS, NAMESPACE_FLAGS, 0, 1), _ret(ERRNO | EPERM), _ret(ALLOW)]


def _socket() -> list[bytes]:
    """Unix and internet sockets, and netlink for routes; none that reads or writes raw packets."""
    no, raw = _ret(ERRNO | EAFNOSUPPORT), _ret(ERRNO | EPERM)
    return [
        _load(ARGUMENTS),
        _jump(JUMP_EQUAL, AF_UNIX, 9, 0),
        _jump(JUMP_EQUAL, AF_INET, 4, 0),
        _jump(JUMP_EQUAL, AF_INET6, 3, 0),
        _jump(JUMP_EQUAL, AF_NETLINK, 0, 7),
        _load(ARGUMENTS + 16),
        _jump(JUMP_EQUAL, NETLINK_ROUTE, 4, 5),
        _load(ARGUMENTS + 8),
        struct.pack("=HBBI", AND, 0, 0, SOCK_TYPE),
        _jump(JUMP_EQUAL, SOCK_RAW, 0, 1),
        raw,
        _ret(ALLOW),
        no,
    ]


def _personality() -> list[bytes]:
    count = len(PERSONALITIES)
    tests = [_jump(JUMP_EQUAL, value, count - at, 0) for at, value in enumerate(PERSONALITIES)]
    return [_load(ARGUMENTS), *tests, _ret(ERRNO | EPERM), _ret(ALLOW)]


def _load(offset: int) -> bytes:
    return struct.pack("=HBBI", LOAD, 0, 0, offset)


def _jump(kind: int, value: int, yes: int, no: int) -> bytes:
    return struct.pack("=HBBI", kind, yes, no, value)


def _ret(value: int) -> bytes:
    return struct.pack("=HBBI", RETURN, 0, 0, value)
