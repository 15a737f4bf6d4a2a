"""tule delete"""

import sys

import click

from tule.cli.outcome import Failure, json_option, show_json
from tule.cli.running import find, target_options


@click.command("delete")
@click.argument("stack")
@target_options
@json_option
def command(stack: str, directory: str | None, port: int | None, *, as_json: bool) -> None:
    """Delete STACK and what it made. Resources whose DeletionPolicy is Retain stay."""
    running = find(directory, port)

    from tule.cli.deploy.session import Session
    from tule.cli.deploy.stack import Deployment

    def say(text: str) -> None:
        if not as_json:
            print(text, file=sys.stderr, flush=True)

    session = Session(running)
    deployment = Deployment(session, stack, say)
    found = deployment.describe()
    if found is None or found["StackStatus"] == "DELETE_COMPLETE":
        _show(stack, "is not there", as_json=as_json)
        return
    deployment.remember(found)
    session.call("cloudformation", "delete_stack", StackName=found["StackId"])
    final = deployment.wait_gone(found["StackId"])
    if final["StackStatus"] != "DELETE_COMPLETE":
        raise Failure(
            f"Stack {stack} ended as {final['StackStatus']}. {final.get('StackStatusReason', '')}",
            f"`tule aws cloudformation describe-stack-events --stack-name {stack}` says more.",
        )
    _show(stack, "deleted", as_json=as_json)


def _show(stack: str, what: str, *, as_json: bool) -> None:
    if as_json:
        show_json({"stack": stack, "what": what})
    else:
        print(f"Stack {stack}: {what}")
