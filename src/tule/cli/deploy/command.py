"""tule deploy"""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from tule.cli.outcome import Failure, json_option, show_json
from tule.cli.running import find, home_of, target_options

if TYPE_CHECKING:
    from tule.cli.deploy.stack import ApiAddress, Outcome

TEMPLATE_NAMES: Final = ("template.yaml", "template.yml", "template.json", "sam.yaml", "cloudformation.yaml")
INTERRUPTED: Final = 130


@click.command("deploy")
@click.argument("path", type=click.Path(path_type=Path), default=".")
@click.option("--stack-name", help="Name of the stack; the template's folder unless given.")
@click.option("--parameter", "parameters", multiple=True, metavar="NAME=VALUE", help="A parameter of the template.")
@click.option("--tag", "tags", multiple=True, metavar="NAME=VALUE", help="A tag for the stack and its resources.")
@target_options
@json_option
def command(  # noqa: PLR0913 - one parameter an option
    path: Path,
    stack_name: str | None,
    parameters: tuple[str, ...],
    tags: tuple[str, ...],
    directory: str | None,
    port: int | None,
    *,
    as_json: bool,
) -> int:
    """Build and deploy PATH: a SAM or CloudFormation template, or a folder with one.

    Code that the template names is built (TypeScript by esbuild, Python requirements by pip), packed and uploaded to a
    bucket on Tule. Deploying again changes what changed, and keeps data. All capabilities are acknowledged.
    """
    running = find(directory, port)
    template = find_template(path)
    name = stack_name or stack_name_of(template)
    given, tagged = pairs(parameters, "--parameter"), pairs(tags, "--tag")

    from tule.cli.deploy.session import Session
    from tule.cli.deploy.source import Source
    from tule.cli.deploy.stack import Deployment

    say = _quiet if as_json else _say
    session = Session(running)
    deployment = Deployment(session, name, say)
    try:
        text = Source(template).packaged(session, name, home_of(directory), say)
        outcome = deployment.deploy(text, given, tagged)
    except KeyboardInterrupt:
        say("")
        say(deployment.interrupted())
        return INTERRUPTED
    if as_json:
        show_json(outcome.as_json())
    else:
        _show(outcome)
    return 0


def find_template(path: Path) -> Path:
    """The template that `path` means."""
    if path.is_file():
        return path
    if not path.is_dir():
        raise Failure(f"There is no template: {path} does not exist.", "Give a template or a folder with one.", 2)
    for name in TEMPLATE_NAMES:
        if (path / name).is_file():
            return path / name
    raise Failure(
        f"{path} has no template.", f"Give a template, or put one there as {' or '.join(TEMPLATE_NAMES[:2])}.", 2
    )


def stack_name_of(template: Path) -> str:
    """The folder's name in the letters that a stack's name may have."""
    name = re.sub(r"[^A-Za-z0-9-]+", "-", template.resolve().parent.name).strip("-")
    if not name or not name[0].isalpha():
        raise Failure(f"'{template.resolve().parent.name}' makes no stack name.", "Name it with --stack-name.", 2)
    return name[:128]


def pairs(texts: tuple[str, ...], option: str) -> dict[str, str]:
    pairs = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals or not name:
            raise click.UsageError(f"{option} takes NAME=VALUE, not '{text}'.")
        pairs[name] = value
    return pairs


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def _quiet(_: str) -> None:
    """Progress is for people."""


def _show(outcome: Outcome) -> None:
    print(f"Stack {outcome.stack}: {outcome.what}")
    if outcome.outputs:
        print("\nOutputs")
        width = max(map(len, outcome.outputs))
        for name, value in outcome.outputs.items():
            print(f"  {name:<{width}}  {value}")
    _show_addresses("APIs", outcome.apis)
    _show_addresses("Function URLs", outcome.function_urls)


def _show_addresses(what: str, addresses: list[ApiAddress]) -> None:
    if addresses:
        print(f"\n{what}, as this machine reaches them")
    for address in addresses:
        print(f"  {address.logical_id}  {address.url}")
        print(f"  {'':<{len(address.logical_id)}}  {address.path_url}  (where *.localhost is not resolved)")
