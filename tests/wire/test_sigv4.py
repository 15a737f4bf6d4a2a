"""Signatures made by botocore, and AWS's own worked examples, against our verification."""

import hashlib
import zlib
from base64 import b64encode
from datetime import UTC, datetime
from types import SimpleNamespace

import botocore.auth
import pytest
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from hypothesis import given
from hypothesis import strategies as st

from tule.kernel.context import root_principal
from tule.kernel.errors import AwsError
from tule.kernel.ports import AccessKey
from tule.net.messages import HttpRequest
from tule.wire.aws_chunked import SIGNED, UNSIGNED_TRAILER, ChunkDecoder
from tule.wire.checksums import encoded, new_checksum
from tule.wire.routing import Route
from tule.wire.signatures import read_signature
from tule.wire.sigv4 import SigningKey, Verifier

NOW_MS = 1_795_000_000_000
SECRET = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"
KEY = AccessKey("AKIDEXAMPLE", SECRET, "123456789012", root_principal("123456789012"))


@pytest.fixture(autouse=True)
def frozen_botocore(monkeypatch):
    moment = datetime.fromtimestamp(NOW_MS / 1000, UTC)
    monkeypatch.setattr(botocore.auth, "get_current_datetime", lambda remove_tzinfo=True: moment.replace(tzinfo=None))


def as_request(prepared, body: bytes = b"") -> HttpRequest:
    """What arrives at the server for a request that botocore prepared."""
    _, _, rest = prepared.url.partition("://")
    host, _, tail = rest.partition("/")
    path, _, query = tail.partition("?")
    headers = {"host": host}
    for name, value in prepared.headers.items():
        headers[name.lower()] = value if isinstance(value, str) else value.decode()
    return HttpRequest(prepared.method, f"/{tail}", f"/{path}", query, headers, body)


def signed(signer, method="POST", url="http://localhost:4566/", headers=None, body=b"{}", token=None) -> HttpRequest:
    request = AWSRequest(method=method, url=url, headers=headers or {}, data=body)
    service = "s3" if "S3" in signer.__name__ else "sqs"
    signer(Credentials("AKIDEXAMPLE", SECRET, token), service, "eu-west-1").add_auth(request)
    return as_request(request.prepare(), body)


def verify(request: HttpRequest, key: AccessKey = KEY, now_ms: int = NOW_MS, protocol: str = "json") -> None:
    signature = read_signature(request)
    service = signature.service
    Verifier().admit(request, Route(service, "X", "rest-xml" if service == "s3" else protocol, signature), key, now_ms)


def refused(request: HttpRequest, **options) -> AwsError:
    with pytest.raises(AwsError) as caught:
        verify(request, **options)
    return caught.value


URLS = [
    "http://localhost:4566/",
    "http://localhost:4566/a%20b/c%2Fd",
    "http://localhost:4566/2015-03-31/functions/arn%3Aaws%3Alambda%3Aeu-west-1%3A1%3Afunction%3Af/invocations",
    "http://localhost:4566/x?b=2&a=1&a=0&empty=&flag",
    "http://localhost:4566/x?q=a%20b%2Bc%26d",
    "http://localhost:4566/%C3%A9/~x",
]


@pytest.mark.parametrize("url", URLS)
@pytest.mark.parametrize("signer", [botocore.auth.SigV4Auth, botocore.auth.S3SigV4Auth])
def test_a_signed_request_passes_and_any_change_of_it_fails(signer, url):
    headers = {"X-Amz-Target": "AmazonSQS.SendMessage", "X-Amz-Meta-A": "  many   spaces "}
    request = signed(signer, url=url, headers=headers)
    verify(request)
    for change in ("method", "path", "query", "body", "header"):
        altered = signed(signer, url=url, headers=headers)
        if change == "method":
            altered.method = "PUT"
        elif change == "path":
            altered.path += "x"
        elif change == "query":
            altered.query += "&y=1"
        elif change == "body":
            altered.body += b" "
        else:
            altered.headers["x-amz-meta-a"] = "other"
        assert refused(altered).error_code in (
            "InvalidSignatureException",
            "SignatureDoesNotMatch",
            "XAmzContentSHA256Mismatch",
        )


@pytest.mark.parametrize("url", URLS)
@pytest.mark.parametrize("signer", [botocore.auth.SigV4QueryAuth, botocore.auth.S3SigV4QueryAuth])
def test_a_presigned_url_passes_until_it_expires(signer, url):
    body = b"" if signer is botocore.auth.SigV4QueryAuth else b"anything"
    request = signed(signer, "GET", url, body=b"")
    request.body = body
    verify(request)
    verify(request, now_ms=NOW_MS + 3_599_000)
    late = refused(request, now_ms=NOW_MS + 3_601_000)
    if "S3" in signer.__name__:
        assert (late.error_code, late.error_status, late.message) == ("AccessDenied", 403, "Request has expired")
    else:
        assert late.message.startswith("Signature expired: ")
    request.path += "x"
    assert refused(request).error_code in ("InvalidSignatureException", "SignatureDoesNotMatch")


@pytest.mark.parametrize(
    ("protocol", "code", "status"),
    [
        ("json", "InvalidSignatureException", 400),
        ("query", "SignatureDoesNotMatch", 403),
        ("rest-json", "InvalidSignatureException", 403),
    ],
)
def test_refusals_are_those_of_the_protocol(protocol, code, status):
    error = refused(
        signed(botocore.auth.SigV4Auth), key=AccessKey("A", "other", "1", root_principal("1")), protocol=protocol
    )
    assert (error.error_code, error.error_status) == (code, status)
    assert error.message.startswith("The request signature we calculated does not match the signature you provided.")


def test_a_clock_may_be_a_quarter_of_an_hour_wrong():
    for seconds in (-899, 899):
        verify(signed(botocore.auth.SigV4Auth), now_ms=NOW_MS + seconds * 1000)
    assert refused(signed(botocore.auth.SigV4Auth), now_ms=NOW_MS + 901_000).message == (
        "Signature expired: 20261118T110640Z is now earlier than 20261118T110641Z (20261118T112141Z - 15 min.)"
    )
    assert "not yet current" in refused(signed(botocore.auth.SigV4Auth), now_ms=NOW_MS - 901_000).message
    assert refused(signed(botocore.auth.S3SigV4Auth), now_ms=NOW_MS + 901_000).error_code == "RequestTimeTooSkewed"


def test_temporary_keys_need_their_token_and_end():
    key = AccessKey("ASIA", SECRET, "1", root_principal("1"), "token", NOW_MS + 1000)
    verify(signed(botocore.auth.SigV4Auth, token="token"), key=key)
    verify(signed(botocore.auth.SigV4QueryAuth, "GET", body=b"", token="token"), key=key)
    assert refused(signed(botocore.auth.SigV4Auth, token="wrong"), key=key).error_code == "UnrecognizedClientException"
    assert refused(signed(botocore.auth.SigV4Auth), key=key).error_code == "UnrecognizedClientException"
    late = refused(signed(botocore.auth.SigV4Auth, token="token"), key=key, now_ms=NOW_MS + 1000)
    assert late.error_code == "ExpiredTokenException"


def test_an_incomplete_header_is_told_what_it_lacks():
    request = HttpRequest(
        "POST", "/", "/", "", {"authorization": "AWS4-HMAC-SHA256 Credential=AK/20261118/r/sqs/aws4_request"}
    )
    error = refused(request)
    assert error.error_code == "IncompleteSignatureException"
    assert error.message.startswith(
        "Authorization header requires 'Signature' parameter. Authorization header requires 'SignedHeaders' parameter. "
    )


# The example of https://docs.aws.amazon.com/AmazonS3/latest/API/sigv4-streaming.html
SEED = SimpleNamespace(
    key=SigningKey(SECRET, "20130524", "us-east-1", "s3"),
    timestamp="20130524T000000Z",
    scope="20130524/us-east-1/s3/aws4_request",
    signature="4f232c4386841ef735655705268965c44a0e4690baa4adea153f7db9fa80a0a9",
)
EXAMPLE = (
    b"10000;chunk-signature=ad80c730a21e5b8d04586a2213dd63b9a0e99e0e2307b0ade35a65485a288648\r\n"
    + b"a" * 65536
    + b"\r\n"
    b"400;chunk-signature=0055627c9e194cb4542bae2aa5492e3c1575bbb81b612b7d234b86a503ef5497\r\n" + b"a" * 1024 + b"\r\n"
    b"0;chunk-signature=b6c6ea8a5354eaf15b3cb7646744f4275b71ea724fed81ceb9323e279d449df9\r\n\r\n"
)


@pytest.mark.parametrize("size", [1, 7, 1000, 65536, 100_000])
def test_signed_chunks_of_awss_example(size):
    decoder = ChunkDecoder(SIGNED, SEED, "")
    step = max(size, 50)
    body = b"".join(part for at in range(0, len(EXAMPLE), step) for part in decoder.feed(EXAMPLE[at : at + step]))
    decoder.end("66560")
    assert body == b"a" * 66560


def test_a_changed_chunk_is_refused():
    decoder = ChunkDecoder(SIGNED, SEED, "")
    with pytest.raises(AwsError) as caught:
        decoder.feed(EXAMPLE.replace(b"aaaa", b"aaab", 1))
    assert caught.value.error_code == "SignatureDoesNotMatch"


def coded(body: bytes, *trailers: bytes, size: int = 10) -> bytes:
    chunks = [body[at : at + size] for at in range(0, len(body), size)]
    return (
        b"".join(b"%x\r\n%b\r\n" % (len(c), c) for c in chunks)
        + b"0\r\n"
        + b"".join(t + b"\r\n" for t in trailers)
        + b"\r\n"
    )


@pytest.mark.parametrize("algorithm", ["crc32", "crc32c", "crc64nvme", "sha1", "sha256"])
@given(body=st.binary(max_size=100), step=st.integers(1, 50))
def test_trailing_checksums_are_verified(algorithm, body, step):
    checksum = new_checksum(algorithm)
    checksum.update(body)
    name = f"x-amz-checksum-{algorithm}"
    right = coded(body, f"{name}:{encoded(checksum)}".encode())
    wrong = coded(body, f"{name}:{b64encode(b'xxxxxxxx').decode()}".encode())
    for text, fails in (
        (right, None),
        (wrong, "BadDigest"),
        (right[:-8], "IncompleteBody"),
        (coded(body), "MalformedTrailerError"),
    ):
        decoder = ChunkDecoder(UNSIGNED_TRAILER, None, name)
        got = b"".join(part for at in range(0, len(text), step) for part in decoder.feed(text[at : at + step]))
        if fails is None:
            decoder.end(str(len(body)))
            assert got == body
            continue
        with pytest.raises(AwsError) as caught:
            decoder.end(str(len(body)))
        assert caught.value.error_code == fails


@given(st.binary(max_size=300), st.binary(max_size=40))
def test_the_decoder_of_chunks_takes_any_bytes(text, trailer):
    decoder = ChunkDecoder(UNSIGNED_TRAILER, None, trailer.decode("latin-1"))
    try:
        decoder.feed(text)
        decoder.end("")
    except AwsError:
        return


@pytest.mark.parametrize(
    ("algorithm", "check"),
    # The check values of the catalogue of parametrised CRCs, for "123456789".
    [("crc32", "cbf43926"), ("crc32c", "e3069283"), ("crc64nvme", "ae8b14860a799888")],
)
def test_crcs(algorithm, check):
    checksum = new_checksum(algorithm)
    for part in (b"1", b"2345678", b"9"):
        checksum.update(part)
    assert checksum.digest().hex() == check


def test_the_aws_chunked_coding_is_taken_off():
    body = b"hello"
    headers = {
        "content-encoding": "aws-chunked,gzip",
        "x-amz-decoded-content-length": "5",
        "x-amz-content-sha256": UNSIGNED_TRAILER,
        "x-amz-trailer": "x-amz-checksum-crc32",
    }
    checksum = b64encode(zlib.crc32(body).to_bytes(4, "big")).decode()
    request = HttpRequest("PUT", "/b/k", "/b/k", "", headers, coded(body, f"x-amz-checksum-crc32:{checksum}".encode()))
    Verifier().admit(request, Route("s3", "PutObject", "rest-xml"), None, NOW_MS)
    assert request.body == body
    assert request.headers["content-encoding"] == "gzip"
    assert request.headers["content-length"] == "5"
    assert request.headers["x-amz-checksum-crc32"] == checksum


def test_a_wrong_hash_of_the_payload_is_refused_in_s3s_words():
    request = signed(botocore.auth.S3SigV4Auth, "PUT", body=b"abc")
    assert request.headers["x-amz-content-sha256"] == hashlib.sha256(b"abc").hexdigest()
    request.body = b"abd"
    assert refused(request).error_code == "XAmzContentSHA256Mismatch"
