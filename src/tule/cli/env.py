"""tule env"""

import shlex

import click

from tule.cli.outcome import json_option, show_json
from tule.cli.running import find, target_options


@click.command("env")
@target_options
@json_option
def command(directory: str | None, port: int | None, *, as_json: bool) -> None:
    """Print the variables that point SDKs and the AWS CLI at Tule: eval "$(tule env)"."""
    running = find(directory, port)
    pair = running.admin("GET", "credentials")
    variables = {
        "AWS_ENDPOINT_URL": running.url,
        "AWS_ACCESS_KEY_ID": pair["access_key_id"],
        "AWS_SECRET_ACCESS_KEY": pair["secret_access_key"],
        "AWS_REGION": running.region,
        "AWS_DEFAULT_REGION": running.region,
    }
    if as_json:
        show_json(variables)
        return
    for name, value in variables.items():
        print(f"export {name}={shlex.quote(value)}")
