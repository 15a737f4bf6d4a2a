"""Lambda's own limits, from AWS's quota page, the service's model, and what AWS answers when they are passed."""

TIMEOUT_MAX_S = 900
MEMORY_MAX_MB = 10_240
"""The model allows 32,768 for managed instances, which Tule doesn't have."""

ENVIRONMENT_MAX_BYTES = 4 * 1024
"""All variables as one JSON object."""

NAME_MAX = 64
"""A function's name; the model's 140 is for a whole ARN."""

ZIPPED_MAX_BYTES = 52_428_800
UNZIPPED_MAX_BYTES = 262_144_000
REQUEST_MAX_BYTES = 70_167_211

SYNC_PAYLOAD_MAX_BYTES = 6_291_456
RESPONSE_MAX_BYTES = 6_291_556
ASYNC_PAYLOAD_MAX_BYTES = 1_048_576

LOG_TAIL_BYTES = 4 * 1024

CLIENT_CONTEXT_MAX_BYTES = 3_583
"""Of the base64 text that the header carries."""

TAGS_MAX = 50

ACCOUNT_CONCURRENCY = 1000
UNRESERVED_MINIMUM = 100
"""What PutFunctionConcurrency must leave to the account's other functions."""

REQUESTS_PER_INSTANCE = 10
"""Synchronous invocations of a function a second, for each of the instances it may have."""

CODE_STORAGE_BYTES = 80_530_636_800
"""GetAccountSettings' TotalCodeSize of a new account: 75 GB."""

LIST_PAGE = 50
"""The largest page ListFunctions returns, whatever MaxItems says."""

LAYERS_MAX = 5
"""Layers of one function."""

VERSION_DIGITS = 18
"""A number of more digits is no version's, nor fits into the store's keys."""

EVENT_RETRIES = 2
EVENT_RETRY_WAITS_S = (60, 120)
"""After the first and the second failure of an asynchronous invocation."""

EVENT_AGE_MAX_S = 21_600

THROTTLE_WAIT_FIRST_S = 1
THROTTLE_WAIT_LONGEST_S = 300
"""Backoff of asynchronous invocations that found no capacity."""

EVENTS_IN_FLIGHT = 64
"""Queued invocations of one function that Tule runs at once (ours: instances are processes of one machine)."""

EVENTS_WAITING_MAX = 100_000
"""Queued invocations of one function; beyond that Invoke answers 429 (ours: the queue must be bounded)."""

CODE_URL_VALID_S = 600
"""How long GetFunction's Code.Location works: ten minutes, as AWS's presigned URL does."""

ROLE_SESSION_S = 12 * 3600
"""Lifetime of the credentials an instance is given."""

QUEUE_BATCH_MAX = 10_000
QUEUE_BATCH_FIFO_MAX = 10
QUEUE_BATCH_WITHOUT_WINDOW = 10
QUEUE_POLLERS_FIRST = 5
"""Concurrent batches a mapping starts with."""

QUEUE_POLLERS_MAX = 1_000
"""Concurrent batches of one mapping (AWS: 1,250; ours is lower because ScalingConfig's model ends at 1,000)."""

QUEUE_BATCH_BYTES = 6_291_456
"""The payload limit of one invocation, which closes a batch early."""

PENDING_WAIT_S = 20.0
"""How long an invocation waits for a function that is being created before it is told 409 (ours: AWS says so at once,
and its functions are created in less)."""

RECURSION_MAX = 16
"""Invocations of one function in one chain of requests; the next is stopped (AWS says "approximately 16")."""

LINEAGE_MAX = 64
"""Functions that a chain's lineage remembers, the latest ones (ours; the header must stay small)."""

DEAD_LETTER_MESSAGE_BYTES = 1_024
"""Of the error's message in a dead letter's attributes: AWS keeps the first kilobyte."""

PRELUDE_MAX_BYTES = 64 * 1024
"""Status and headers that a streamed response begins with (ours: about what HTTP clients take as headers)."""
