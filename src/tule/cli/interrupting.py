"""Commands that stay until they are told to end."""

import signal


def end_on_signals() -> None:
    """Let Ctrl-C and SIGTERM raise KeyboardInterrupt, also where a shell had a background command ignore Ctrl-C."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.default_int_handler)
