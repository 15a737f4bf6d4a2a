"""Which requests are read as they arrive instead of being held in memory."""

from typing import Final

from tule.kernel.errors import AwsError
from tule.net.messages import HttpRequest
from tule.wire.routing import route

STREAM_FROM_BYTES: Final = 1024 * 1024
"""Bodies below this are cheaper to buffer than to stream (ours)."""

_STREAMED: Final = frozenset({"PutObject", "UploadPart"})


def wants_stream(request: HttpRequest) -> bool:
    """For `HttpServer`: objects and parts of a megabyte and more, and those that don't say how long they are.

    Their parameter Body is then an async iterator; every other operation is parsed from a complete body.
    """
    if request.method != "PUT":
        return False
    length = request.headers.get("content-length")
    if length is not None and (not length.isdecimal() or int(length) < STREAM_FROM_BYTES):
        return False
    try:
        where = route(request)
    except AwsError:
        return False
    return where.service == "s3" and where.operation in _STREAMED
