"""tule invoke"""

import base64
import json
import sys
from pathlib import Path
from urllib.parse import quote

import click

from tule.cli.outcome import FAILED, Failure, json_option, show_json
from tule.cli.running import find, target_options


@click.command("invoke")
@click.argument("function")
@click.argument("payload", required=False)
@click.option("--file", "file", type=click.Path(exists=True, dir_okay=False, path_type=Path), help="Payload from here.")
@click.option("--event", is_flag=True, help="Queue the call instead of waiting for its answer.")
@click.option("--log", "show_log", is_flag=True, help="Print the end of the function's log to stderr.")
@target_options
@json_option
def command(  # noqa: PLR0913 - one parameter an option
    function: str,
    payload: str | None,
    file: Path | None,
    directory: str | None,
    port: int | None,
    *,
    event: bool,
    show_log: bool,
    as_json: bool,
) -> int:
    """Call FUNCTION (a name or an ARN) with PAYLOAD (JSON, "-" for stdin) and print its answer."""
    from tule.cli.signing import Api

    body = _payload(payload, file)
    headers = {
        "content-type": "application/json",
        "x-amz-invocation-type": "Event" if event else "RequestResponse",
        "x-amz-log-type": "Tail" if show_log and not event else "None",
    }
    path = f"/2015-03-31/functions/{quote(function, safe='')}/invocations"
    status, answered, raw = Api(find(directory, port), "lambda").call("POST", path, headers, body)
    failed = answered.get("x-amz-function-error")
    tail = base64.b64decode(answered.get("x-amz-log-result", "")).decode(errors="replace")
    if as_json:
        show_json({"status": status, "function_error": failed, "payload": _decoded(raw), "log": tail})
    else:
        if tail:
            print(tail, file=sys.stderr)
        if event:
            print("The call is queued.", file=sys.stderr)
        if raw:
            print(raw.decode(errors="replace"))
    return FAILED if failed else 0


def _payload(payload: str | None, file: Path | None) -> bytes:
    if file is not None:
        if payload is not None:
            raise click.UsageError("Give the payload as an argument or with --file, not both.")
        return file.read_bytes()
    if payload == "-":
        return sys.stdin.buffer.read()
    text = payload or "{}"
    try:
        json.loads(text)
    except ValueError as error:
        raise Failure(
            f"The payload is not JSON: {error}.", """Quote it: tule invoke NAME '{"key": "value"}'.""", 2
        ) from error
    return text.encode()


def _decoded(raw: bytes) -> object:
    try:
        return json.loads(raw)
    except ValueError:
        return raw.decode(errors="replace")
