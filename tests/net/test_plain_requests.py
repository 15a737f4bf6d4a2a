"""What is read in one step is what the parser reads."""

import httptools
from hypothesis import example, given
from hypothesis import strategies as st

from tule.net.messages import HttpRequest
from tule.net.plain import FRAMING, read_plain

NAMES = {
    name: name.lower() for name in ("Host", "host", "Content-Length", "content-length", "X-A", "x-a", "Connection")
}
HEAD_BYTES = 16 * 1024


class Heard:
    """Everything the parser says."""

    def __init__(self) -> None:
        self.url = b""
        self.headers: list[tuple[str, str]] = []
        self.body = b""
        self.messages = 0

    def on_url(self, url: bytes) -> None:
        self.url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        self.headers.append((name.decode("latin-1").lower(), value.decode("latin-1")))

    def on_body(self, body: bytes) -> None:
        self.body += body

    def on_message_complete(self) -> None:
        self.messages += 1


def parsed(data: bytes) -> HttpRequest:
    """`data` as the parser has it; it must be one whole message that leaves the connection open."""
    heard = Heard()
    parser = httptools.HttpRequestParser(heard)
    parser.feed_data(data)
    assert heard.messages == 1
    assert parser.should_keep_alive()
    assert len({name for name, _ in heard.headers}) == len(heard.headers)
    target = heard.url.decode("latin-1")
    path, _, query = target.partition("?")
    return HttpRequest(parser.get_method().decode(), target, path, query, dict(heard.headers), heard.body)


LINES = st.sampled_from(
    [
        b"Host: localhost", b"host:a", b"X-A: 1",
        b"x-a:\t two words \t", b"x-a: \t ", b"X-A: *\xe9", b"X-A:", b"X-A : 1",
        b" folded", b"x-a: a\x00b", b"x-a: a\x7fb", b"x-a: a\nb", b"x-a: a\rb",
        b"Connection: close", b"Connection: keep-alive",
        b"Connection: keep-alive, Upgrade", b"Connection: Close",
        b"Transfer-Encoding: chunked", b"Expect: 100-continue", b"Upgrade: h2c", b": nameless", b"X-New: 1", b"X-A",
        b"Content-Length: 3", b"content-length: 0", b"content-length: +3", b"content-length: 3, 3", b"content-length:",
    ]
)  # fmt: skip
FIRST = st.sampled_from(
    [
        b"POST / HTTP/1.1", b"GET /a/b?c=d%20e HTTP/1.1", b"PUT /\xe9 HTTP/1.1", b"POST / HTTP/1.0", b"GET  / HTTP/1.1",
        b"GET / HTTP/1.1 ", b"post / HTTP/1.1", b"GET /a b HTTP/1.1", b"GET /#f HTTP/1.1", b"GET * HTTP/1.1",
        b"GET http://a/b HTTP/1.1", b"CONNECT a:1 HTTP/1.1", b"DELETE /x HTTP/2.0", b"HEAD /?[] HTTP/1.1", b"",
    ]
)  # fmt: skip
TAILS = st.sampled_from([b"", b"abc", b"ab", b"abcd", b"\r\n", b"abcGET / HTTP/1.1\r\nhost: a\r\n\r\n"])


@given(FIRST, st.lists(LINES, max_size=4), TAILS, st.sampled_from([b"\r\n", b"\n"]))
@example(b"POST / HTTP/1.1", [b"Host: a", b"Content-Length: 3"], b"abc", b"\r\n")
@example(b"GET /a/b?c=d%20e HTTP/1.1", [b"Host: a", b"x-a:\t two words \t"], b"", b"\r\n")
def test_what_is_plain_the_parser_reads_the_same(first: bytes, lines: list[bytes], tail: bytes, end: bytes) -> None:
    data = end.join([first, *lines]) + end + end + tail
    plain = read_plain(data, NAMES, HEAD_BYTES)
    if plain is not None:
        assert plain == parsed(data)


def test_an_ordinary_call_is_plain() -> None:
    request = read_plain(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc", NAMES, HEAD_BYTES)
    assert request is not None
    assert (request.method, request.path, request.headers["host"], request.body) == ("POST", "/", "a", b"abc")


def test_nothing_that_frames_a_message_is_plain() -> None:
    for name in FRAMING:
        data = f"POST / HTTP/1.1\r\nHost: a\r\n{name}: x\r\n\r\n".encode()
        assert read_plain(data, NAMES, HEAD_BYTES) is None


def test_a_head_beyond_the_limit_is_the_parsers() -> None:
    data = b"GET / HTTP/1.1\r\nHost: a\r\nX-A: " + b"x" * 100 + b"\r\n\r\n"
    assert read_plain(data, NAMES, 60) is None
    assert read_plain(data, NAMES, 200) is not None


def test_node_clients_are_plain_and_whoever_closes_is_not() -> None:
    head = b"POST / HTTP/1.1\r\nHost: a\r\nConnection: %b\r\n\r\n"
    assert read_plain(head % b"keep-alive", NAMES, HEAD_BYTES) is not None
    for value in (b"close", b"upgrade", b"keep-alive, close", b"Keep-Alive ", b""):
        assert read_plain(head % value, NAMES, HEAD_BYTES) is None
