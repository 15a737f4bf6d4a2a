"""Java and Ruby as the host has them: found by their files, without starting anything."""

import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Final

OLDEST_JAVA: Final = 17

_VERSION: Final = re.compile(r'^JAVA_VERSION="(\d+)', re.MULTILINE)


def javas(home: Path) -> dict[int, str]:
    """JDKs and JREs by their major version: the folder of each."""
    found: dict[int, str] = {}
    for folder in _java_folders(home):
        number = _java_version(folder)
        if number >= OLDEST_JAVA and number not in found and (folder / "bin/java").exists():
            found[number] = str(folder)
    return found


def _java_folders(home: Path) -> Iterator[Path]:
    program = shutil.which("java")
    if program:
        yield Path(program).resolve().parent.parent
    for base, pattern in (
        (Path("/usr/lib/jvm"), "*"),
        (Path("/opt"), "*jdk*"),
        (home / ".sdkman/candidates/java", "*"),
        (Path("/Library/Java/JavaVirtualMachines"), "*/Contents/Home"),
    ):
        for folder in sorted(base.glob(pattern), reverse=True):
            yield folder.resolve()


def _java_version(folder: Path) -> int:
    try:
        match = _VERSION.search((folder / "release").read_text())
    except OSError:
        return 0
    return int(match[1]) if match else 0


def best_java(found: dict[int, str], wanted: int) -> int:
    """The one that runs what was made for `wanted`: itself, or the next newer; 0 if all are older."""
    return min((number for number in found if number >= wanted), default=0)
