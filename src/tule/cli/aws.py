"""tule aws"""

import os
import shutil
import sys
from pathlib import Path

import click

from tule.cli.outcome import USAGE, Failure
from tule.cli.running import find


@click.command("aws", context_settings={"ignore_unknown_options": True, "help_option_names": []})
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
def command(arguments: tuple[str, ...]) -> None:
    """Run the AWS CLI against Tule: tule aws sqs list-queues. TULE_DIR and TULE_PORT say which Tule."""
    running = find(os.environ.get("TULE_DIR"), _port())
    program = _program()
    pair = running.admin("GET", "credentials")
    environment = dict(os.environ)
    environment["AWS_ENDPOINT_URL"] = running.url
    if "AWS_ACCESS_KEY_ID" not in environment and "AWS_PROFILE" not in environment:
        environment["AWS_ACCESS_KEY_ID"] = pair["access_key_id"]
        environment["AWS_SECRET_ACCESS_KEY"] = pair["secret_access_key"]
    environment.setdefault("AWS_DEFAULT_REGION", running.region)
    environment.setdefault("AWS_PAGER", "")
    # Old versions don't know the variable, so the flag says it too; the last one given counts.
    os.execve(program, [program, "--endpoint-url", running.url, *arguments], environment)  # noqa: S606 - the user's own arguments, and no shell


def _port() -> int | None:
    text = os.environ.get("TULE_PORT", "")
    if text and not text.isdecimal():
        raise Failure(f'TULE_PORT is "{text}", which is no port.', "Set it to a number, or unset it.", USAGE)
    return int(text) if text else None


def _program() -> str:
    """The AWS CLI beside this Python, or the first on the PATH."""
    beside = Path(sys.executable).with_name("aws")
    found = str(beside) if beside.is_file() else shutil.which("aws")
    if found is None:
        raise Failure("The AWS CLI is not installed.", f"Install it with `{sys.executable} -m pip install awscli`.")
    return found
