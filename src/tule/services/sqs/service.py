"""Amazon SQS: standard queues."""

from typing import Final

from tule.services.declaration import Coordinate, Read, Service, Transact
from tule.services.sqs.configuring import (
    FORGET,
    create_queue,
    delete_queue,
    forget,
    get_queue_attributes,
    get_queue_url,
    purge_queue,
    set_queue_attributes,
)
from tule.services.sqs.delivery import deliver
from tule.services.sqs.expiry import EXPIRE, SWEEP, expire, sweep
from tule.services.sqs.listing import list_dead_letter_source_queues, list_queues
from tule.services.sqs.names import SERVICE_NAME, shard_of_name, shard_of_url
from tule.services.sqs.permissions import add_permission, remove_permission
from tule.services.sqs.receiving import receive_message
from tule.services.sqs.removing import (
    change_message_visibility,
    change_message_visibility_batch,
    delete_message,
    delete_message_batch,
)
from tule.services.sqs.sending import send_message, send_message_batch
from tule.services.sqs.tags import list_queue_tags, tag_queue, untag_queue
from tule.store.layers.queues_delivery import DELIVER

SERVICE: Final = Service(
    name=SERVICE_NAME,
    operations={
        "AddPermission": Transact(add_permission, shard_of_url),
        "ChangeMessageVisibility": Transact(change_message_visibility, shard_of_url),
        "ChangeMessageVisibilityBatch": Transact(change_message_visibility_batch, shard_of_url),
        "CreateQueue": Coordinate(create_queue),
        "DeleteMessage": Transact(delete_message, shard_of_url),
        "DeleteMessageBatch": Transact(delete_message_batch, shard_of_url),
        "DeleteQueue": Transact(delete_queue, shard_of_url),
        "GetQueueAttributes": Coordinate(get_queue_attributes),
        "GetQueueUrl": Read(get_queue_url, shard_of_name),
        "ListDeadLetterSourceQueues": Coordinate(list_dead_letter_source_queues),
        "ListQueueTags": Read(list_queue_tags, shard_of_url),
        "ListQueues": Coordinate(list_queues),
        "PurgeQueue": Transact(purge_queue, shard_of_url),
        "ReceiveMessage": Coordinate(receive_message, abandonable=True),
        "RemovePermission": Transact(remove_permission, shard_of_url),
        "SendMessage": Transact(send_message, shard_of_url),
        "SendMessageBatch": Transact(send_message_batch, shard_of_url),
        "SetQueueAttributes": Coordinate(set_queue_attributes),
        "TagQueue": Transact(tag_queue, shard_of_url),
        "UntagQueue": Transact(untag_queue, shard_of_url),
    },
    receivers={DELIVER: deliver},
    timers={EXPIRE: expire, SWEEP: sweep, FORGET: forget},
    resources="tule.services.sqs.cfn",
    coverage={
        "CreateQueue": "FIFO queues answer 501.",
        "SetQueueAttributes": "Policies and encryption settings are stored and shown, not yet enforced.",
    },
)
