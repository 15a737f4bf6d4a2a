"""Event streams, held against botocore's parser, its vectors, and arbitrary messages."""

import asyncio
import types

import botocore_vectors
import pytest
from botocore.eventstream import EventStreamBuffer
from hypothesis import given
from hypothesis import strategies as st

from tule.kernel.errors import AwsError
from tule.wire import event_stream
from tule.wire.event_stream import Decoder, EventStreamError, Header, Kind, Message, decode, encode
from tule.wire.event_stream_output import Framed


def _numbers(bits):
    return st.integers(-(2 ** (bits - 1)), 2 ** (bits - 1) - 1)


HEADERS = st.one_of(
    st.sampled_from([Header(Kind.TRUE, True), Header(Kind.FALSE, False)]),
    *(
        st.builds(Header, st.just(kind), _numbers(bits))
        for kind, bits in (
            (Kind.BYTE, 8),
            (Kind.SHORT, 16),
            (Kind.INTEGER, 32),
            (Kind.LONG, 64),
            (Kind.TIMESTAMP, 64),
        )
    ),
    st.builds(Header, st.just(Kind.BYTES), st.binary(max_size=300)),
    st.builds(Header, st.just(Kind.STRING), st.text(max_size=100)),
    st.builds(Header, st.just(Kind.UUID), st.binary(min_size=16, max_size=16)),
)
NAMES = st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1, max_size=40)
MESSAGES = st.builds(Message, st.dictionaries(NAMES, HEADERS, max_size=6), st.binary(max_size=2_000))


@given(st.lists(MESSAGES, max_size=4), st.integers(1, 500))
def test_what_is_encoded_is_decoded_in_pieces_of_any_size(messages, size):
    stream = b"".join(encode(message.headers, message.payload) for message in messages)
    decoder = Decoder()

    found = [message for start in range(0, len(stream), size) for message in decoder.feed(stream[start : start + size])]

    assert found == messages
    assert decoder.unfinished_bytes == 0


@given(MESSAGES)
def test_botocore_reads_what_tule_writes(message):
    buffer = EventStreamBuffer()
    buffer.add_data(encode(message.headers, message.payload))

    (read,) = list(buffer)

    assert read.payload == message.payload
    expected = {name: header.value for name, header in message.headers.items()}
    assert read.headers == expected


@given(MESSAGES, st.data())
def test_no_flipped_bit_goes_unnoticed(message, data):
    frame = bytearray(encode(message.headers, message.payload))
    frame[data.draw(st.integers(0, len(frame) - 1))] ^= 1 << data.draw(st.integers(0, 7))

    with pytest.raises(EventStreamError):
        decode(bytes(frame))


def _botocore_cases():
    """The cases of botocore's own test of its parser, in its source distribution."""
    text = (botocore_vectors.source() / "tests" / "unit" / "test_eventstream.py").read_text(encoding="utf-8")
    source = text.replace("from tests import mock", "mock = None")
    module = types.ModuleType("botocore_cases")
    exec(compile(source, "test_eventstream.py", "exec"), module.__dict__)
    return module.POSITIVE_CASES, module.NEGATIVE_CASES


POSITIVE, NEGATIVE = _botocore_cases()


@pytest.mark.parametrize(("encoded", "expected"), POSITIVE)
def test_botocores_messages_are_read_and_written_back(encoded, expected):
    (message,) = decode(encoded)

    told = {name: header.value for name, header in message.headers.items()}
    assert told == expected.headers
    assert message.payload == expected.payload
    assert encode(message.headers, message.payload) == encoded


@pytest.mark.parametrize("encoded", [encoded for encoded, _ in NEGATIVE])
def test_what_botocore_refuses_is_refused(encoded):
    with pytest.raises(EventStreamError):
        decode(encoded)


@pytest.mark.parametrize(
    ("headers", "payload"),
    [
        ({"": "no name"}, b""),
        ({"x" * 256: "long name"}, b""),
        ({"x": "v" * 32_768}, b""),
        ({"x": Header(Kind.BYTE, 128)}, b""),
        ({"x": Header(Kind.LONG, 2**63)}, b""),
        ({"x": Header(Kind.UUID, b"short")}, b""),
        ({}, b"\0" * (event_stream.PAYLOAD_MAX_BYTES + 1)),
        ({str(n): "v" * 32_767 for n in range(5)}, b""),
    ],
)
def test_a_message_beyond_the_limits_is_not_made(headers, payload):
    with pytest.raises(EventStreamError):
        encode(headers, payload)


def test_a_stream_that_ends_in_a_message_is_refused():
    with pytest.raises(EventStreamError, match="5 bytes into a message"):
        decode(encode({}, b"whole") + encode({}, b"cut")[:5])


def test_a_refusal_in_the_middle_of_a_stream_is_told_as_an_exception():
    class BusyError(AwsError):
        code = "TooManyRequestsException"

    async def events():
        yield {"a": 1}
        raise BusyError("Rate Exceeded.", members={"Reason": "CallerRateLimitExceeded"})

    async def collected():
        return [frame async for frame in Framed(events(), lambda _: encode({":event-type": "a"}))]

    first, last = decode(b"".join(asyncio.run(collected())))
    assert first.text(":event-type") == "a"
    assert (last.text(":message-type"), last.text(":exception-type")) == ("exception", "TooManyRequestsException")
    assert b'"Reason":"CallerRateLimitExceeded"' in last.payload


def test_a_reader_who_leaves_before_the_first_event_ends_the_source():
    class Source:
        closed = False

        async def aclose(self):
            self.closed = True

    source = Source()
    asyncio.run(Framed(source, lambda _: b"").aclose())
    assert source.closed
