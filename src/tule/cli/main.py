"""The command `tule`. Every command is a file of its own, loaded when it is called."""

import importlib
import sys
from typing import Any, Final

import click

from tule import __version__

COMMANDS: Final = {
    "up": ("up", "Start Tule."),
    "down": ("down", "Stop a running Tule."),
    "status": ("status", "Say what is running, where, and how it keeps data."),
    "deploy": ("deploy", "Build and deploy a SAM or CloudFormation template."),
    "delete": ("deploy.delete", "Delete a stack and what it made."),
    "dev": ("dev.command", "Deploy, watch the files, and put what changes in place."),
    "debug": ("debug.command", "Have a function wait for a debugger."),
    "invoke": ("invoke", "Call a function and print its answer."),
    "logs": ("logs", "Print a function's log, or follow it."),
    "cold-starts": ("cold_starts", "Show where a function's cold starts spend their time."),
    "traces": ("traces", "Show what a request did, hop by hop, with prices."),
    "ledger": ("ledger", "Prove what became of every accepted event."),
    "clock": ("clock", "Show, pause, resume or advance service time."),
    "reset": ("reset", "Forget everything."),
    "doctor": ("doctor", "Check this machine and say what would help."),
    "env": ("env", "Print the variables that point AWS tools at Tule."),
    "aws": ("aws", "Run the AWS CLI against Tule."),
}
"""Module under `tule.cli` and one-line help of each command: help needs no command to be loaded."""

INTERRUPTED: Final = 130
"""What shells say of a command that Ctrl-C ended."""


class Lazy(click.Group):
    """A group that imports a command when it is called."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002 - click's signature
        if cmd_name not in COMMANDS:
            return None
        module = importlib.import_module(f"tule.cli.{COMMANDS[cmd_name][0]}")
        command: click.Command = module.command
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002 - click's signature
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in COMMANDS.items()])


@click.group(cls=Lazy, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="tule")
def tule() -> None:
    """A serverless cloud on your own ground."""


def main(arguments: list[str] | None = None) -> Any:
    """The entry point: exit codes are 0 done, 1 failed, 2 usage, 3 not running."""
    from tule.cli.outcome import Failure

    try:
        code = tule.main(arguments, prog_name="tule", standalone_mode=False)
    except click.UsageError as error:
        _show_usage(error)
        sys.exit(2)
    except click.ClickException as error:
        error.show()
        sys.exit(1)
    except click.Abort as error:
        sys.exit(INTERRUPTED if isinstance(error.__cause__, KeyboardInterrupt) else 1)
    except Failure as failure:
        failure.show()
        sys.exit(failure.exit_code)
    except BrokenPipeError:
        sys.stderr.close()
        sys.exit(0)
    sys.exit(code if isinstance(code, int) else 0)


def _show_usage(error: click.UsageError) -> None:
    """As click shows it; as JSON where the command was asked for JSON."""
    from tule.cli.outcome import Failure, wants_json

    if wants_json():
        path = error.ctx.command_path if error.ctx else "tule"
        Failure(error.format_message(), f"`{path} --help` says what there is.").show()
    else:
        error.show()


if __name__ == "__main__":
    main()
