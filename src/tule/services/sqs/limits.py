"""SQS's limits. Sources: its API model, its developer guide's quotas, and recorded answers of AWS."""

from typing import Final

MAX_MESSAGE_BYTES: Final = 1_048_576
"""The largest message, and the largest batch (quotas, 2025)."""
MIN_MESSAGE_BYTES_SETTING: Final = 1_024
MAX_BATCH_ENTRIES: Final = 10
MAX_RECEIVED: Final = 10
MAX_WAIT_S: Final = 20
MAX_DELAY_S: Final = 900
MAX_VISIBILITY_S: Final = 43_200
MIN_RETENTION_S: Final = 60
MAX_RETENTION_S: Final = 1_209_600
MAX_IN_FLIGHT: Final = 120_000
"""Messages in flight in one standard queue (quotas)."""
MAX_MESSAGE_ATTRIBUTES: Final = 10
MAX_ATTRIBUTE_NAME: Final = 256
MAX_ATTRIBUTE_TYPE: Final = 256
MAX_ENTRY_ID: Final = 80
MAX_GROUP_ID: Final = 128
MAX_RECEIVE_COUNT: Final = 1_000
MAX_TAGS: Final = 50
MAX_TAG_KEY: Final = 128
MAX_TAG_VALUE: Final = 256
MAX_PAGE: Final = 1_000
"""Queues in one answer of ListQueues and ListDeadLetterSourceQueues."""
MAX_SOURCE_QUEUES: Final = 10
"""sourceQueueArns of a RedriveAllowPolicy."""
PURGE_PAUSE_MS: Final = 60_000
REUSE_NAME_PAUSE_MS: Final = 60_000
BILLED_CHUNK_BYTES: Final = 65_536
"""SQS bills each 64 KiB of a payload as one request (its pricing page)."""
