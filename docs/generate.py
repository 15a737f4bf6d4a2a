"""Writes docs/reference from the code: `python docs/generate.py`; `--check` only says whether that is needed."""

import sys
from importlib import import_module
from pathlib import Path

from tule.gateway.registry import discover
from tule.services.declaration import Service
from tule.wire.models import read_document

HERE = Path(__file__).parent
HEAD = """# Operations

Every operation of every service that Tule has begun, from the services' own declarations. What is not covered answers
501 and names itself. Services that are not listed answer 501 as a whole.

| service | covered | of |
|---|---|---|
"""
RESOURCES_HEAD = """# CloudFormation resource types

Types and properties that a template may use, from the services' own declarations. Any other fails the change set by
name, before anything is created.

"""


def services() -> list[Service]:
    return [import_module(module).SERVICE for module in discover().values()]


def operations_page() -> str:
    rows, chapters = [], []
    for service in services():
        names = sorted(read_document(service.name)["operations"])
        covered = [name for name in names if name in service.operations]
        rows.append(f"| [{service.name}](#{service.name}) | {len(covered)} | {len(names)} |")
        chapters.append(chapter(service, names, covered))
    return HEAD + "\n".join(rows) + "\n" + "".join(chapters)


def chapter(service: Service, names: list[str], covered: list[str]) -> str:
    lines = [f"\n## {service.name}\n", "| operation | known differences |", "|---|---|"]
    lines += [f"| {name} | {service.coverage.get(name, '')} |" for name in covered]
    missing = ", ".join(name for name in names if name not in service.operations)
    return "\n".join(lines) + (f"\n\nNot covered: {missing}.\n" if missing else "\n")


def resources_page() -> str:
    chapters = []
    for service in services():
        if not service.resources:
            continue
        for name, kind in sorted(import_module(service.resources).RESOURCES.items()):
            chapters.append(f"## {name}\n\nProperties: {', '.join(sorted(kind.properties))}.")
            if kind.ignored:
                chapters.append(f"Accepted without effect: {', '.join(sorted(kind.ignored))}.")
            replacing = sorted(kind.replace_on) if kind.update is not None else ["any change"]
            chapters.append(f"Replaced on a change of: {', '.join(replacing) or 'nothing'}.")
    return RESOURCES_HEAD + "\n\n".join(chapters) + "\n"


def main(arguments: list[str]) -> int:
    pages = {"operations.md": operations_page(), "resources.md": resources_page()}
    stale = [name for name, text in pages.items() if current(name) != text]
    if "--check" in arguments:
        return 1 if stale else 0
    for name in stale:
        (HERE / "reference" / name).write_text(pages[name])
    return 0


def current(name: str) -> str:
    path = HERE / "reference" / name
    return path.read_text() if path.exists() else ""


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
