"""Tags of queues."""

from typing import Any

import msgspec

from tule.observe.metering import meter, meter_read
from tule.services.sqs import limits
from tule.services.sqs.errors import invalid_parameter
from tule.services.sqs.queue import Existing, existing, read_existing, write_record
from tule.services.sqs.sending import REQUESTS
from tule.store.transaction import ReadTxn, Txn


def check_tags(tags: dict[str, str]) -> None:
    """Refuse tags that AWS refuses."""
    if len(tags) > limits.MAX_TAGS:
        raise invalid_parameter(f"Too many tags added for queue. Maximum number of tags is {limits.MAX_TAGS}.")
    for key, value in tags.items():
        if not 1 <= len(key) <= limits.MAX_TAG_KEY:
            raise invalid_parameter("Tag keys must be between 1 and 128 characters in length.")
        if len(value) > limits.MAX_TAG_VALUE:
            raise invalid_parameter("Tag values must be between 0 and 256 characters in length.")
        if key.lower().startswith("aws:") and not key.startswith("aws:cloudformation:"):
            raise invalid_parameter("Tag keys can't start with 'aws:'.")


def tag_queue(txn: Txn, request: dict[str, Any]) -> dict[str, Any]:
    """Add tags or give them new values."""
    found = existing(txn)
    tags = {**found.record.tags, **request["Tags"]}
    check_tags(tags)
    _write_tags(txn, found, tags)
    return {}


def untag_queue(txn: Txn, request: dict[str, Any]) -> dict[str, Any]:
    """Take tags away; one that isn't there is fine."""
    found = existing(txn)
    gone = set(request["TagKeys"])
    _write_tags(txn, found, {key: value for key, value in found.record.tags.items() if key not in gone})
    return {}


def list_queue_tags(txn: ReadTxn, _request: dict[str, Any]) -> dict[str, Any]:
    """All tags; nothing at all for a queue without any, as on AWS."""
    tags = read_existing(txn).tags
    meter_read(txn, REQUESTS, 1)
    return {"Tags": tags} if tags else {}


def _write_tags(txn: Txn, found: Existing, tags: dict[str, str]) -> None:
    changed = msgspec.structs.replace(found.record, tags=tags)
    write_record(txn, changed)
    meter(txn, REQUESTS, 1)
    queue, settings = found.queue, found.settings
    txn.then(lambda: queue.configured(changed, settings))
