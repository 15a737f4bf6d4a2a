"""Order-preserving keys.

A packed key sorts as the tuple of its parts does: byte strings before texts before numbers, each kind in its own
order, and a tuple before every longer tuple that starts with it.
"""

from hashlib import sha256

from tule.kernel.limits import MAX_KEY_BYTES

Part = str | int | bytes

_BYTES = 0x01
_TEXT = 0x02
_NUMBER = 0x03
_END = b"\x00"
_ESCAPED_END = b"\x00\xff"

OWN_KEYS = b"\xf0"
"""Keys of a shard from here on are the store's own (counters, timers, watermarks); packed keys are all below."""

LARGEST_NUMBER = 2**63 - 1

SHORT_PART_BYTES = 1_024
"""The longest part that `short` leaves alone: S3's longest object key and DynamoDB's longest sort key (ours)."""


class KeyTooLongError(ValueError):
    """An encoded key beyond `MAX_KEY_BYTES`; parts that may be long go through `short`."""

    def __init__(self, size: int) -> None:
        super().__init__(f"A key of {size} bytes was written; at most {MAX_KEY_BYTES} are allowed.")


def pack(*parts: Part) -> bytes:
    """The parts as one key. Numbers are whole, from 0 to 2**63 - 1; a `ValueError` says so."""
    out = []
    for part in parts:
        if isinstance(part, str):
            data = part.encode("utf-8", "surrogatepass")
            if _END in data:
                data = data.replace(_END, _ESCAPED_END)
            out.append(b"\x02%b\x00" % data)
        elif isinstance(part, bytes):
            data = part.replace(_END, _ESCAPED_END) if _END in part else part
            out.append(b"\x01%b\x00" % data)
        else:
            if not 0 <= part <= LARGEST_NUMBER:
                raise ValueError(f"A number in a key is from 0 to 2**63 - 1, not {part}.")
            out.append(b"\x03%b" % part.to_bytes(8, "big"))
    return b"".join(out)


def pack_open(*parts: Part) -> bytes:
    """Like `pack`, but the last part, a text or bytes, is left open: the prefix of all keys whose part starts so."""
    return pack(*parts)[:-1]


def unpack(key: bytes) -> list[Part]:
    """The parts of a packed key."""
    parts: list[Part] = []
    position = 0
    while position < len(key):
        tag = key[position]
        position += 1
        if tag == _NUMBER:
            parts.append(int.from_bytes(key[position : position + 8], "big"))
            position += 8
            continue
        if tag not in (_BYTES, _TEXT):
            raise ValueError(f"Byte {tag:#x} starts no part of a key.")
        end = _end_of_part(key, position)
        data = key[position:end].replace(_ESCAPED_END, _END)
        parts.append(data if tag == _BYTES else data.decode("utf-8", "surrogatepass"))
        position = end + 1
    return parts


def _end_of_part(key: bytes, position: int) -> int:
    end = key.index(_END, position)
    while key[end + 1 : end + 2] == b"\xff":
        end = key.index(_END, end + 2)
    return end


def prefix_end(prefix: bytes) -> bytes:
    """The smallest key above all that start with `prefix`; of b"" above all that a shard's user may write."""
    if not prefix:
        return OWN_KEYS
    stripped = prefix.rstrip(b"\xff")
    return stripped[:-1] + bytes((stripped[-1] + 1,)) if stripped else b"\xff" * (len(prefix) + MAX_KEY_BYTES)


def after(key: bytes) -> bytes:
    """The smallest key above `key`."""
    return key + b"\x00"


def short(part: str | bytes, limit: int = SHORT_PART_BYTES) -> str | bytes:
    """A part that fits: itself, or its beginning and its SHA-256 when its encoding has more than `limit` bytes.

    Whoever uses it keeps the full value beside the row and compares it when reading: that is the check against
    collisions. Parts that were shortened keep their order only as far as their beginnings differ.
    """
    data = part.encode("utf-8", "surrogatepass") if isinstance(part, str) else part
    if len(data) + data.count(0) <= limit:
        return part
    digest = sha256(data).digest()
    head = data[: limit - 2 * len(digest)]
    head = head[: max(0, limit - 2 * len(digest) - head.count(0))]
    return head + digest
