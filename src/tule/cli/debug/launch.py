"""VS Code's launch.json: one configuration put in, and every other byte left as it was."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any, Final

from tule.cli.outcome import Failure

if TYPE_CHECKING:
    from pathlib import Path

_COMMENT_OR_TEXT: Final = re.compile(r'"(?:\\.|[^"\\])*"|//[^\n]*|/\*.*?\*/', re.DOTALL)
_TRAILING: Final = re.compile(r'"(?:\\.|[^"\\])*"|,(?=\s*[\]}])')
_NEW: Final = '{\n  "version": "0.2.0",\n  "configurations": []\n}\n'


def configuration(name: str, debugger: str, port: int, code: str, root: str) -> dict[str, Any]:
    """What attaches VS Code to a function whose code is `code` here and `root` in its sandbox."""
    if debugger == "debugpy":
        return {
            "name": name, "type": "debugpy", "request": "attach",
            "connect": {"host": "127.0.0.1", "port": port},
            "pathMappings": [{"localRoot": code, "remoteRoot": root}],
        }  # fmt: skip
    return {
        "name": name, "type": "node", "request": "attach", "address": "127.0.0.1", "port": port,
        "localRoot": code, "remoteRoot": root, "skipFiles": ["<node_internals>/**"],
    }  # fmt: skip


def write(file: Path, wanted: dict[str, Any]) -> bool:
    """Put `wanted` into the file in place of the configuration of its name. False if it was there already."""
    text = file.read_text(encoding="utf-8") if file.is_file() else _NEW
    changed = _with(text, wanted, file)
    if changed == text and file.is_file():
        return False
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(changed, encoding="utf-8")
    return True


def _with(text: str, wanted: dict[str, Any], file: Path) -> str:
    blanked = blank(text)
    try:
        value = json.loads(blanked)
        entries = value.get("configurations", [])
        assert isinstance(entries, list), "VS Code has a list there"
    except (ValueError, AttributeError, AssertionError) as error:
        raise Failure(
            f"{file} is no launch.json that could be added to: {error}",
            f"Put this among its configurations: {json.dumps(wanted)}",
        ) from error
    shown = json.dumps(wanted, indent=2).replace("\n", "\n    ")
    for start, end, entry in _entries(blanked, len(entries)):
        if entry.get("name") == wanted["name"]:
            return text if entry == wanted else text[:start] + shown + text[end:]
    if "configurations" not in value:
        brace = blanked.index("{") + 1
        comma = "," if value else ""
        return f'{text[:brace]}\n  "configurations": [\n    {shown}\n  ]{comma}{text[brace:]}'
    bracket = _list_start(blanked)
    return f"{text[:bracket]}\n    {shown}{',' if entries else chr(10) + '  '}{text[bracket:]}"


def blank(text: str) -> str:
    """JSON with comments and trailing commas turned into spaces, so that places in it are places in the text."""

    def spaces(found: re.Match[str]) -> str:
        whole = found[0]
        return whole if whole.startswith('"') else re.sub(r"[^\n]", " ", whole)

    return _TRAILING.sub(spaces, _COMMENT_OR_TEXT.sub(spaces, text))


def _list_start(blanked: str) -> int:
    """Right behind the bracket that opens the outermost "configurations"."""
    depth = 0
    for found in re.finditer(r'"(?:\\.|[^"\\])*"|[{}\[\]]', blanked):
        if found[0] in "{[":
            depth += 1
        elif found[0] in "}]":
            depth -= 1
        elif depth == 1 and found[0] == '"configurations"' and blanked[found.end() :].lstrip().startswith(":"):
            return blanked.index("[", found.end()) + 1
    raise AssertionError("it was found when the text was parsed")


def _entries(blanked: str, count: int) -> list[tuple[int, int, dict[str, Any]]]:
    """(start, end, value) of each configuration."""
    found = []
    at = _list_start(blanked) if count else 0
    for _ in range(count):
        at += len(blanked[at:]) - len(blanked[at:].lstrip(" \t\r\n,"))
        value, end = json.JSONDecoder().raw_decode(blanked, at)
        found.append((at, end, value))
        at = end
    return found
