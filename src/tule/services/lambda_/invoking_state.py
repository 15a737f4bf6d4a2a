"""Where event invoke configurations, recursion settings and function URLs lie in the store."""

import msgspec

from tule.services.lambda_.function_url import FunctionUrl, UrlPlace
from tule.services.lambda_.invoke_config import DEFAULT, InvokeConfig
from tule.services.lambda_.models import LATEST
from tule.store.keys import after as key_after
from tule.store.keys import pack, prefix_end, unpack
from tule.store.transaction import ReadTxn, ShardKey, Target, Txn

FORGET_URL = "forget-url"
"""Name of the message to a URL's own shard."""

URLS_MAX = 100_000
"""URLs of one function: its own and one for each alias (ours; it bounds a scan)."""

_CONFIGS = pack("invoke-config")
_LOOPS = pack("loops-allowed")
_URLS = pack("url")
_PLACE = pack("place")
_encode = msgspec.msgpack.Encoder().encode
_config = msgspec.msgpack.Decoder(InvokeConfig)
_url = msgspec.msgpack.Decoder(FunctionUrl)
_place = msgspec.msgpack.Decoder(UrlPlace)


def _qualifier(qualifier: str) -> str:
    """$LATEST and no qualifier are the same to an event."""
    return qualifier or LATEST


def read_config(txn: ReadTxn, qualifier: str) -> InvokeConfig | None:
    raw = txn.get(pack("invoke-config", _qualifier(qualifier)))
    return None if raw is None else _config.decode(raw)


def config_in_force(txn: ReadTxn, qualifier: str) -> InvokeConfig:
    """The configuration of the qualifier by which a function was called: AWS inherits none from another qualifier."""
    return read_config(txn, qualifier) or DEFAULT


def write_config(txn: Txn, qualifier: str, config: InvokeConfig) -> None:
    txn.put(pack("invoke-config", _qualifier(qualifier)), _encode(config))


def erase_config(txn: Txn, qualifier: str) -> None:
    txn.delete(pack("invoke-config", _qualifier(qualifier)))


def scan_configs(txn: ReadTxn, after: str, limit: int) -> list[tuple[str, InvokeConfig]]:
    """(qualifier, configuration) by qualifier, those greater than `after`."""
    start = key_after(pack("invoke-config", after)) if after else _CONFIGS
    return [(_last(key), _config.decode(value)) for key, value in txn.scan(start, prefix_end(_CONFIGS), limit)]


def _last(key: bytes) -> str:
    """The qualifier that a key ends with."""
    return str(unpack(key)[-1])


def loops_allowed(txn: ReadTxn) -> bool:
    """Whether the function may call itself without end: RecursiveLoop=Allow."""
    return txn.get(_LOOPS) is not None


def allow_loops(txn: Txn, *, allowed: bool) -> None:
    if allowed:
        txn.put(_LOOPS, b"")
    else:
        txn.delete(_LOOPS)


def url_shard(url_id: str) -> ShardKey:
    """What a URL's id leads to. The configuration itself lies with its function."""
    return ShardKey("lambda", "", "", "url", url_id)


def read_place(txn: ReadTxn) -> UrlPlace | None:
    raw = txn.get(_PLACE)
    return None if raw is None else _place.decode(raw)


def write_place(txn: Txn, place: UrlPlace) -> None:
    txn.put(_PLACE, _encode(place))


def erase_place(txn: Txn, _message: bytes = b"") -> None:
    """Also what the message `FORGET_URL` does."""
    txn.delete(_PLACE)


def read_url(txn: ReadTxn, qualifier: str) -> FunctionUrl | None:
    """The URL of an alias, or of the function itself ("")."""
    raw = txn.get(pack("url", qualifier))
    return None if raw is None else _url.decode(raw)


def write_url(txn: Txn, qualifier: str, url: FunctionUrl) -> None:
    txn.put(pack("url", qualifier), _encode(url))


def erase_url(txn: Txn, qualifier: str) -> None:
    """The URL, and in a moment what its id leads to; nothing if there is none."""
    url = read_url(txn, qualifier)
    if url is not None:
        txn.delete(pack("url", qualifier))
        txn.send(Target(url_shard(url.id), FORGET_URL), b"")


def scan_urls(txn: ReadTxn, after: str | None, limit: int) -> list[tuple[str, FunctionUrl]]:
    """(qualifier, URL) by qualifier; those greater than `after` unless it is None."""
    start = _URLS if after is None else key_after(pack("url", after))
    return [(_last(key), _url.decode(value)) for key, value in txn.scan(start, prefix_end(_URLS), limit)]


def erase_all(txn: Txn) -> None:
    """The function is gone, and what was said about its invocations with it."""
    for qualifier, _ in scan_urls(txn, None, URLS_MAX):
        erase_url(txn, qualifier)
    txn.delete_range(_CONFIGS, prefix_end(_CONFIGS))
    txn.delete(_LOOPS)
