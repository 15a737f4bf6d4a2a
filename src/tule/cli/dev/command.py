"""tule dev"""

from __future__ import annotations

import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from tule.cli.deploy.command import find_template, pairs, stack_name_of
from tule.cli.dev.telling import Telling
from tule.cli.interrupting import end_on_signals
from tule.cli.outcome import Failure
from tule.cli.running import find, home_of, target_options

if TYPE_CHECKING:
    from collections.abc import Iterable

    from tule.cli.deploy.stack import Outcome
    from tule.cli.dev.swapping import Swapper, Target
    from tule.cli.running import Running

GONE_MAX_S: Final = 2.0
"""How long a template may be away while it is replaced (ours)."""


@click.command("dev")
@click.argument("path", type=click.Path(path_type=Path), default=".")
@click.option("--stack-name", help="Name of the stack; the template's folder unless given.")
@click.option("--parameter", "parameters", multiple=True, metavar="NAME=VALUE", help="A parameter of the template.")
@click.option("--delete", "delete", is_flag=True, help="Delete the stack at the end.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document a line.")
@target_options
def command(  # noqa: PLR0913 - one parameter an option
    path: Path,
    stack_name: str | None,
    parameters: tuple[str, ...],
    directory: str | None,
    port: int | None,
    *,
    delete: bool,
    as_json: bool,
) -> int:
    """Deploy PATH, then watch it: code that changes is in its function in a blink, and logs are shown as they come.

    URLs, queues and tables stay what they are. A change of the template deploys the stack anew. Ctrl-C ends it and
    leaves the stack, unless --delete was given.
    """
    running = find(directory, port)
    template = find_template(path)
    name = stack_name or stack_name_of(template)
    given = pairs(parameters, "--parameter")
    end_on_signals()
    developing = Developing(running, template, name, given, home_of(directory), Telling(as_json=as_json))
    try:
        developing.begin()
        developing.watch()
    except KeyboardInterrupt:
        pass
    finally:
        developing.end(delete=delete)
    return 0


class Developing:
    """One session of `tule dev`."""

    def __init__(
        self, running: Running, template: Path, stack: str, parameters: dict[str, str], home: Path, telling: Telling
    ) -> None:
        from tule.cli.deploy.session import Session
        from tule.cli.dev.swapping import Swapper
        from tule.cli.dev.tailing import Tail

        self._template = template.resolve()
        self._stack = stack
        self._parameters = parameters
        self._home = home
        self._telling = telling
        self._session = Session(running)
        self._swapper: Swapper = Swapper(self._session, stack, home, telling.progress)
        self._tail = Tail(running, telling)
        self._targets: list[Target] = []
        self._swapped = False
        self._deployed = False
        self._packed_s = 0.0

    def begin(self) -> None:
        """Deploy, and start to listen."""
        self._deploy()
        self._tail.start()

    def watch(self) -> None:
        """Until Ctrl-C: take changes as they come."""
        from tule.cli.dev.watching import States, Watch

        states: States = {}
        while True:
            places = self._places()
            with Watch(places, states) as watch:
                self._telling.say(
                    "watching",
                    f"Watching {', '.join(map(_shown, places))}. Ctrl-C ends it.",
                    places=list(map(str, places)),
                )
                changed = watch.since(self._packed_s)  # what was saved while the stack was deployed
                while not (changed and self._take(changed)):
                    changed = watch.next()

    def end(self, *, delete: bool) -> None:
        """Stop listening; leave stack and functions of one mind, or nothing."""
        self._tail.stop()
        if not self._deployed:
            return
        if delete:
            self._delete()
            return
        if self._swapped:
            try:
                self._deploy()  # what the stack says its functions run, they run
            except Failure as failure:
                self._telling.failed(failure)
        text = f"Stack {self._stack} stays. `tule delete {self._stack}` takes it away."
        self._telling.say("stopped", text, stack=self._stack, deleted=False)

    # -- changes

    def _take(self, changed: set[Path]) -> bool:
        """Act on changed files. True if the template was among them."""
        try:
            if self._template in changed:
                self._await_template()
                self._deploy()
                return True
            targets = [target for target in self._targets if any(map(_within(target.code), changed))]
            if targets:
                self._swap(targets, changed)
        except Failure as failure:
            self._telling.failed(failure, files=sorted(map(_shown, changed)))
        return self._template in changed  # it may be another file now: it is watched anew

    def _await_template(self) -> None:
        """Editors take a file away before they put the new one there."""
        until_s = time.monotonic() + GONE_MAX_S
        while not self._template.is_file() and time.monotonic() < until_s:
            threading.Event().wait(0.02)

    def _swap(self, targets: Iterable[Target], changed: set[Path]) -> None:
        saved = max((path.stat().st_mtime for path in changed if path.exists()), default=time.time())
        swaps = self._swapper.swap(targets)
        self._swapped = True
        ms = round((time.time() - saved) * 1000, 1)
        files = sorted(_shown(path) for path in changed)
        parts = "; ".join(
            f"{swap.function}: build {swap.build_ms:.0f}, pack {swap.pack_ms:.0f}, update {swap.update_ms:.0f}"
            for swap in swaps
        )
        self._telling.say(
            "changed",
            f"{', '.join(files)}: in place {ms:.0f} ms after it was saved ({parts})",
            files=files, ms=ms, functions=[_told(swap) for swap in swaps],
        )  # fmt: skip

    # -- the stack

    def _deploy(self) -> None:
        from tule.cli.deploy.source import Source
        from tule.cli.deploy.stack import Deployment
        from tule.cli.dev.swapping import check_syntax

        started, packed_s = time.perf_counter(), time.time()
        source = Source(self._template)
        for logical_id, (function, code) in source.code().items():
            check_syntax(logical_id, function, code)
        text = source.packaged(self._session, self._stack, self._home, self._telling.progress)
        outcome = Deployment(self._session, self._stack, self._telling.progress).deploy(text, self._parameters, {})
        self._deployed, self._swapped, self._packed_s = True, False, packed_s
        self._targets = self._found(source)
        self._tail.follow({target.name: target.logical_id for target in self._targets})
        ms = round((time.perf_counter() - started) * 1000, 1)
        self._telling.say("deployed", _deployment(outcome, ms), **outcome.as_json(), ms=ms)

    def _found(self, source: Any) -> list[Target]:
        """The stack's functions whose code is here."""
        from tule.cli.dev.swapping import Target

        pages = self._session.client("cloudformation").get_paginator("list_stack_resources")
        names = {
            entry["LogicalResourceId"]: entry["PhysicalResourceId"]
            for page in pages.paginate(StackName=self._stack)
            for entry in page["StackResourceSummaries"]
            if entry["ResourceType"] == "AWS::Lambda::Function"
        }
        return [
            Target(logical_id, names[logical_id], function, code)
            for logical_id, (function, code) in source.code().items()
            if logical_id in names and code.exists()
        ]

    def _delete(self) -> None:
        from tule.cli.deploy.stack import Deployment

        deployment = Deployment(self._session, self._stack, self._telling.progress)
        stack = deployment.describe()
        if stack is not None:
            deployment.remember(stack)
            self._session.call("cloudformation", "delete_stack", StackName=stack["StackId"])
            deployment.wait_gone(stack["StackId"])
        self._telling.say("stopped", f"Stack {self._stack} is deleted.", stack=self._stack, deleted=True)

    def _places(self) -> list[Path]:
        """What is watched: code, and the template's folder, since editors replace files."""
        places = {target.code for target in self._targets} | {self._template}
        return sorted(place for place in places if place.exists())


def _within(place: Path) -> Any:
    return lambda path: path == place or place in path.parents


def _shown(path: Path) -> str:
    """A path as people know it from where they are."""
    here = Path.cwd()
    return str(path.relative_to(here)) if here in path.parents else str(path)


def _told(swap: Any) -> dict[str, Any]:
    from dataclasses import asdict

    return asdict(swap)


def _deployment(outcome: Outcome, ms: float) -> str:
    lines = [f"Stack {outcome.stack}: {outcome.what} in {ms:.0f} ms"]
    lines += [f"  {name}  {value}" for name, value in outcome.outputs.items()]
    lines += [f"  {api.logical_id}  {api.url}\n  {'':<{len(api.logical_id)}}  {api.path_url}" for api in outcome.apis]
    return "\n".join(lines)
