"""A message on its way into a queue from another shard: what `txn.send` carries to SQS's receiver "deliver"."""

from typing import Any, Final

import msgspec

DELIVER: Final = "deliver"
"""The receiver on a queue's shard."""


class Delivery(msgspec.Struct, frozen=True, array_like=True):
    """One message for a queue.

    An empty `message_id` gets a new one; `sent_at` 0 is the moment of arrival (a dead letter keeps its own).
    `return_to` is the shard of the queue that takes the message back when this one does not exist, with `receives`
    and `first_received` as they were.
    """

    body: str
    attributes: dict[str, dict[str, Any]] | None = None
    sender: str = ""
    trace: str = ""
    message_id: str = ""
    sent_at: int = 0
    group: str = ""
    source_arn: str = ""
    return_to: tuple[str, str, str, str, str] | None = None
    returned: bool = False
    receives: int = 0
    first_received: int = 0


encode_delivery = msgspec.msgpack.Encoder().encode
decode_delivery = msgspec.msgpack.Decoder(Delivery).decode
