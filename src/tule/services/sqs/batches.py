"""What the batch operations have in common."""

import re
from collections.abc import Sequence
from typing import Any, Final

from tule.kernel.errors import AwsError
from tule.services.sqs import limits

_ENTRY_ID: Final = re.compile(r"[A-Za-z0-9_-]{1,80}\Z")


def check_entries(entries: Sequence[dict[str, Any]], shape: str) -> None:
    """Refuse a batch as a whole: none, too many, an id twice, or an id that is none."""
    if not entries:
        raise AwsError(f"There should be at least one {shape} in the request.", code="EmptyBatchRequest")
    if len(entries) > limits.MAX_BATCH_ENTRIES:
        raise AwsError(
            f"Maximum number of entries per request are {limits.MAX_BATCH_ENTRIES}. You have sent {len(entries)}.",
            code="TooManyEntriesInBatchRequest",
        )
    seen: set[str] = set()
    for entry in entries:
        entry_id = entry["Id"]
        if not _ENTRY_ID.match(entry_id):
            raise AwsError(
                "A batch entry id can only contain alphanumeric characters, hyphens and underscores. "
                "It can be at most 80 letters long.",
                code="InvalidBatchEntryId",
            )
        if entry_id in seen:
            raise AwsError(f"Id {entry_id} repeated.", code="BatchEntryIdsNotDistinct")
        seen.add(entry_id)


def failure(entry_id: str, refusal: AwsError) -> dict[str, Any]:
    """An entry of Failed."""
    return {"Id": entry_id, "SenderFault": True, "Code": refusal.error_code, "Message": refusal.message}
