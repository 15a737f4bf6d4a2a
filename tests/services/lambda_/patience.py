"""Waiting for what Tule reaches by itself, with a bound and a word on what was missing."""

import time

WITHIN_S = 60.0
"""A guard against waiting for ever, not an expectation."""


def eventually(what, look, within_s=WITHIN_S):
    """What `look` returns as soon as that is not None; fails with a word on `what`."""
    deadline = time.monotonic() + within_s
    while True:
        found = look()
        if found is not None:
            return found
        if time.monotonic() > deadline:
            raise AssertionError(f"Waited {within_s:g} s for {what} in vain.")


def first_message(sqs, url, **asked):
    """The next message of a queue, deleted."""

    def look():
        for message in sqs.receive_message(QueueUrl=url, WaitTimeSeconds=20, **asked).get("Messages", []):
            sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
            return message
        return None

    return eventually(f"a message in {url}", look)
