"""AWS's names inside functions: the certificates that vouch for them, the responder that answers for them."""

import asyncio
import socket
import ssl
import stat
import subprocess
from datetime import UTC, datetime, timedelta

import pytest

from tule.kernel.clocks import SystemClock
from tule.runtime import resolver
from tule.runtime.authority import Authority
from tule.runtime.resolver import Resolver, Upstream, answer, failure, question

NOW = datetime(2026, 11, 21, tzinfo=UTC)


def query(name, kind=1, flags=0x0100, questions=1):
    labels = b"".join(bytes([len(label)]) + label.encode() for label in name.split("."))
    head = b"\x12\x34" + flags.to_bytes(2, "big") + questions.to_bytes(2, "big") + bytes(6)
    return head + labels + b"\0" + kind.to_bytes(2, "big") + b"\0\x01"


@pytest.fixture
def authority(tmp_path):
    return Authority(tmp_path / "tls", NOW)


def verified(authority, name):
    """What OpenSSL says of the server's certificate, asked for as `name`."""
    folder = authority.certificate.parent
    command = ["openssl", "verify", "-x509_strict", "-CAfile", authority.certificate, "-verify_hostname", name]
    done = subprocess.run([*command, folder / "server.pem"], capture_output=True, text=True, check=False)
    return done.returncode == 0


@pytest.mark.parametrize(
    "name",
    [
        "sqs.us-east-1.amazonaws.com", "queue.amazonaws.com", "eu-west-1.queue.amazonaws.com", "iam.amazonaws.com",
        "bucket.s3.amazonaws.com", "bucket.s3.ap-southeast-2.amazonaws.com", "s3-us-west-2.amazonaws.com",
        "bucket.s3-us-west-2.amazonaws.com", "bucket.s3.dualstack.eu-north-1.amazonaws.com",
        "123456789012.ddb.us-east-1.amazonaws.com", "abc123.execute-api.us-gov-west-1.amazonaws.com",
        "lambda.eu-central-1.api.aws", "xyz.lambda-url.us-east-1.on.aws",
    ],
)  # fmt: skip
def test_the_certificate_holds_for_the_names_of_aws(authority, name):
    assert verified(authority, name)


def test_the_certificate_holds_for_nobody_else(authority):
    assert not verified(authority, "example.com")
    assert not verified(authority, "localhost")


def test_keys_are_for_their_owner_alone(authority):
    folder = authority.certificate.parent
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in folder.glob("*.pem")}
    assert (modes["ca-key.pem"], modes["server.pem"], folder.stat().st_mode & 0o777) == (0o600, 0o600, 0o700)
    assert modes["ca.pem"] == modes["bundle.pem"] == 0o644


def test_the_bundle_is_what_the_machine_trusts_and_one_more(authority):
    ours = ssl.create_default_context(cafile=authority.bundle)
    alone = ssl.create_default_context(cafile=authority.certificate)
    assert len(alone.get_ca_certs()) == 1
    assert alone.get_ca_certs()[0] in ours.get_ca_certs()


def test_certificates_are_kept_until_they_are_about_to_expire(tmp_path):
    first = Authority(tmp_path / "tls", NOW).certificate.read_bytes()
    assert Authority(tmp_path / "tls", NOW + timedelta(days=365)).certificate.read_bytes() == first
    assert Authority(tmp_path / "tls", NOW + timedelta(days=3640)).certificate.read_bytes() != first


# -- answers


def test_a_question_is_understood():
    assert question(query("SQS.us-east-1.amazonaws.com")) == ("sqs.us-east-1.amazonaws.com", 1, 45)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        bytes(12),
        query("a.b")[:-3],
        query("a.b", flags=0x8180),
        query("a.b", questions=2),
        query("a.b")[:12] + b"\xc0\x0c\0\x01\0\x01",
    ],
)
def test_what_is_no_question_is_left_alone(data):
    assert question(data) is None


def test_an_address_is_told_and_what_there_is_none_of_is_no_error():
    asked = query("sqs.us-east-1.amazonaws.com")
    told = answer(asked, 1, len(asked), "127.84.85.76")
    assert told.startswith(b"\x12\x34\x85\x80\0\x01\0\x01")
    assert told.endswith(bytes([0, 4, 127, 84, 85, 76]))
    assert answer(asked, 28, len(asked), "127.84.85.76")[6:8] == b"\0\0"


def test_a_refusal_says_which_question_it_is_for():
    assert failure(query("a.b"), 5)[:4] == b"\x12\x34\x81\x85"


def bound(address, kind, port=0):
    sock = socket.socket(socket.AF_INET, kind)
    sock.bind((address, port))
    sock.setblocking(False)
    return sock


async def ask(to, data):
    loop = asyncio.get_running_loop()
    with bound("127.0.0.1", socket.SOCK_DGRAM) as sock:
        await loop.sock_sendto(sock, data, to)
        async with asyncio.timeout(10):
            return await loop.sock_recv(sock, 4096)


async def asked(to, data):
    reader, writer = await asyncio.open_connection(*to)
    writer.write(len(data).to_bytes(2, "big") + data)
    size = int.from_bytes(await reader.readexactly(2), "big")
    told = await reader.readexactly(size)
    writer.close()
    await writer.wait_closed()
    return told


class Elsewhere(asyncio.DatagramProtocol):
    """A resolver that answers with the question, backwards."""

    def connection_made(self, transport):
        self.transport = transport

    def datagram_received(self, data, addr):
        self.transport.sendto(data[::-1], addr)


def test_other_names_are_asked_of_the_machines_own_resolver(tmp_path, monkeypatch):
    async def scene():
        loop = asyncio.get_running_loop()
        other = bound("127.0.0.1", socket.SOCK_DGRAM)
        monkeypatch.setattr(resolver, "PORT", other.getsockname()[1])
        transport, _ = await loop.create_datagram_endpoint(Elsewhere, sock=other)
        conf = tmp_path / "resolv.conf"
        conf.write_text("# a network\nnameserver 127.0.0.1\nsearch tule.internal\noptions ndots:2\n")
        upstream = Upstream(conf)
        assert upstream.searching() == "search tule.internal\noptions ndots:2\n"
        datagrams, streams = bound("127.0.0.1", socket.SOCK_DGRAM), bound("127.0.0.1", socket.SOCK_STREAM)
        to, stream_to = datagrams.getsockname(), streams.getsockname()
        served = Resolver("127.84.85.76", SystemClock(), upstream)
        await served.serve(datagrams, streams)
        foreign = query("example.com")
        assert await ask(to, foreign) == foreign[::-1]
        cloud = query("sqs.us-east-1.amazonaws.com")
        assert (await ask(to, cloud)).endswith(bytes([127, 84, 85, 76]))
        assert (await asked(stream_to, cloud)).endswith(bytes([127, 84, 85, 76]))
        served.close()
        transport.close()

    asyncio.run(scene())


def test_without_a_network_other_names_are_refused():
    async def scene():
        datagrams, streams = bound("127.0.0.1", socket.SOCK_DGRAM), bound("127.0.0.1", socket.SOCK_STREAM)
        to, stream_to = datagrams.getsockname(), streams.getsockname()
        served = Resolver("127.84.85.76", SystemClock(), None)
        await served.serve(datagrams, streams)
        assert (await ask(to, query("example.com")))[3] & 15 == 5
        assert (await asked(stream_to, query("example.com")))[3] & 15 == 5
        served.close()

    asyncio.run(scene())
