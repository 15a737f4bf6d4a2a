"""AddPermission and RemovePermission: statements of a queue's policy, by label."""

from typing import Any, Final

import msgspec

from tule.observe.metering import meter
from tule.services.sqs.configuring import change
from tule.services.sqs.errors import invalid_value, missing_parameter
from tule.services.sqs.queue import Existing, existing
from tule.services.sqs.sending import REQUESTS
from tule.store.transaction import Txn

_ACTIONS: Final = frozenset(
    (
        "*",
        "SendMessage",
        "ReceiveMessage",
        "DeleteMessage",
        "ChangeMessageVisibility",
        "GetQueueAttributes",
        "GetQueueUrl",
    )
)


def add_permission(txn: Txn, request: dict[str, Any]) -> dict[str, Any]:
    """Let other accounts do something with the queue."""
    found = existing(txn)
    label, accounts, actions = request["Label"], request["AWSAccountIds"], request["Actions"]
    if not accounts:
        raise missing_parameter("AWSAccountIds")
    if not actions:
        raise missing_parameter("Actions")
    for action in actions:
        if action not in _ACTIONS:
            reason = f"Only the queue owner is allowed to invoke this action, or it is unknown: {action}."
            raise invalid_value(f"SQS:{action}", "ActionName", reason)
    policy = _policy(found)
    if any(statement.get("Sid") == label for statement in policy["Statement"]):
        raise invalid_value(label, "Label", "Already exists.")
    principals = [f"arn:{txn.context.partition}:iam::{account}:root" for account in accounts]
    names = [f"SQS:{action}" for action in actions]
    policy["Statement"].append(
        {
            "Sid": label,
            "Effect": "Allow",
            "Principal": {"AWS": principals[0] if len(principals) == 1 else principals},
            "Action": names[0] if len(names) == 1 else names,
            "Resource": found.settings.arn,
        }
    )
    _write_policy(txn, found, policy)
    return {}


def remove_permission(txn: Txn, request: dict[str, Any]) -> dict[str, Any]:
    """Take a statement out of the queue's policy."""
    found = existing(txn)
    label = request["Label"]
    policy = _policy(found)
    kept = [statement for statement in policy["Statement"] if statement.get("Sid") != label]
    if len(kept) == len(policy["Statement"]):
        raise invalid_value(label, "Label", "can't find label.")
    policy["Statement"] = kept
    _write_policy(txn, found, policy if kept else None)
    return {}


def _policy(found: Existing) -> dict[str, Any]:
    text = found.record.attributes.get("Policy")
    if not text:
        return {"Version": "2012-10-17", "Id": f"{found.settings.arn}/SQSDefaultPolicy", "Statement": []}
    policy: dict[str, Any] = msgspec.json.decode(text)
    statements = policy.get("Statement", [])
    return {**policy, "Statement": [statements] if isinstance(statements, dict) else list(statements)}


def _write_policy(txn: Txn, found: Existing, policy: dict[str, Any] | None) -> None:
    change(txn, found, {"Policy": msgspec.json.encode(policy).decode() if policy is not None else ""})
    meter(txn, REQUESTS, 1)
