"""Where things lie in the one ordered key space: the first byte of a physical key names its space."""

import zlib
from struct import Struct

from tule.kernel.clocks import Instant
from tule.store.keys import pack
from tule.store.transaction import ShardKey

META = b"\x01"
"""Format version and the state of the service clock."""
SLOT = b"\x02"
"""One row a slot: the number below which its ids were given."""
DIRECTORY = b"\x03"
"""(service, account, region, kind, name): resources in lists that span shards."""
OUTBOX = b"\x04"
"""(slot, id): messages on their way to another shard."""
DUE = b"\x05"
"""(instant, digest of shard, timer and key): what happens when."""
FATE = b"\x06"
"""(slot, id): messages that could not be delivered, and why."""
SHARD = b"\x10"
"""(shard, key): everything else."""

COUNTER = b"\xf1"
TIMER = b"\xf2"
WATERMARK = b"\xf3"
"""The store's own keys inside a shard, above `OWN_KEYS`."""

FORMAT_KEY = META + pack("format")
CLOCK_KEY = META + pack("clock")

SLOTS = 256

NUMBER = Struct(">Q")
COUNT = Struct(">q")


def shard_prefix(shard: ShardKey) -> bytes:
    return SHARD + pack(*shard)


def slot_of(prefix: bytes) -> int:
    """The slot of a shard, from its prefix; the same on every machine."""
    return zlib.crc32(prefix) & (SLOTS - 1)


def slot_key(slot: int) -> bytes:
    return SLOT + bytes((slot,))


def outbox_key(slot: int, number: int) -> bytes:
    return OUTBOX + bytes((slot,)) + NUMBER.pack(number)


def fate_key(slot: int, number: int) -> bytes:
    return FATE + bytes((slot,)) + NUMBER.pack(number)


def due_before(at: Instant) -> bytes:
    """The first key of the due space that is not before `at`."""
    return DUE + NUMBER.pack(max(at, 0))
