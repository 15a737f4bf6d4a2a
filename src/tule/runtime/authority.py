"""The certificate authority that functions trust: it vouches for AWS's own names, and for nothing else.

Made once per home. Its key never leaves the home, which only Tule's user reads; functions see the certificate alone.
"""

import json
import os
import shutil
import ssl
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Final

import msgspec

if TYPE_CHECKING:
    from cryptography import x509

SUFFIXES: Final = ("amazonaws.com", "api.aws", "on.aws")
"""What AWS's public names end with: the authority can sign nothing else, and inside a sandbox they all mean Tule."""

YEARS: Final = 10
"""How long the certificates hold (ours): a home outlives a laptop."""

RENEWED_BEFORE: Final = timedelta(days=30)

_PATTERNS: Final = (
    "*.{region}.amazonaws.com", "*.s3.{region}.amazonaws.com", "*.s3-{region}.amazonaws.com",
    "*.dualstack.{region}.amazonaws.com", "*.s3.dualstack.{region}.amazonaws.com", "*.ddb.{region}.amazonaws.com",
    "*.dynamodb.{region}.amazonaws.com", "*.execute-api.{region}.amazonaws.com", "*.{region}.api.aws",
    "*.lambda-url.{region}.on.aws",
)  # fmt: skip
_GLOBAL: Final = ("*.amazonaws.com", "*.s3.amazonaws.com", "*.queue.amazonaws.com", "*.global.api.aws")

_SYSTEM_BUNDLES: Final = (
    "/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
)  # fmt: skip
"""Where Debian, Fedora, SUSE and Alpine keep what programs trust."""


def system_bundle() -> Path | None:
    """The file of certificates that this machine's programs trust."""
    return next((path for name in _SYSTEM_BUNDLES if (path := Path(name)).is_file()), None)


@cache
def names() -> tuple[str, ...]:
    """Every name that the server's certificate carries: a wildcard stands for one label only."""
    import botocore

    partitions = json.loads((Path(botocore.__file__).parent / "data" / "partitions.json").read_bytes())["partitions"]
    regions = sorted(
        region
        for partition in partitions
        if partition["outputs"]["dnsSuffix"] == "amazonaws.com"
        for region in partition["regions"]
        if not region.endswith("-global")
    )
    return (*_GLOBAL, *(pattern.format(region=region) for region in regions for pattern in _PATTERNS))


class Authority:
    """The files below `folder`, made when they are missing or about to expire."""

    def __init__(self, folder: Path, now: datetime) -> None:
        self._folder = folder
        if not self._holds(now):
            self._make(now)
        self._write_bundle()

    @property
    def certificate(self) -> Path:
        """The authority's own certificate, in PEM."""
        return self._folder / "ca.pem"

    @property
    def bundle(self) -> Path:
        """What this machine trusts, and the authority."""
        return self._folder / "bundle.pem"

    def server_context(self) -> ssl.SSLContext:
        """A TLS server that speaks as any of `names`."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.load_cert_chain(self._folder / "server.pem")
        return context

    def _holds(self, now: datetime) -> bool:
        try:
            note = msgspec.json.decode((self._folder / "note.json").read_bytes())
        except (OSError, ValueError):
            return False
        return bool(datetime.fromisoformat(note["until"]) - RENEWED_BEFORE > now and note["names"] == list(names()))

    def _make(self, now: datetime) -> None:
        """A folder that comes into being whole: several Tules may share a home."""
        draft = self._folder.with_name(f".{self._folder.name}-{os.getpid()}")
        shutil.rmtree(draft, ignore_errors=True)
        draft.mkdir(mode=0o700, parents=True)
        until = now.astimezone(UTC) + timedelta(days=365 * YEARS)
        authority, key, server = _certificates(now, until)
        for name, data in (("ca.pem", authority), ("ca-key.pem", key), ("server.pem", server)):
            descriptor = os.open(draft / name, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
            with os.fdopen(descriptor, "wb") as file:
                file.write(data)
        (draft / "ca.pem").chmod(0o644)
        (draft / "note.json").write_bytes(msgspec.json.encode({"until": until.isoformat(), "names": names()}))
        shutil.rmtree(self._folder, ignore_errors=True)
        try:
            draft.rename(self._folder)
        except OSError:  # another Tule was first
            shutil.rmtree(draft, ignore_errors=True)
            if not self._holds(now):
                raise

    def _write_bundle(self) -> None:
        import botocore

        system = system_bundle() or Path(botocore.__file__).parent / "cacert.pem"
        wanted = system.read_bytes().rstrip() + b"\n" + self.certificate.read_bytes()
        if not self.bundle.is_file() or self.bundle.read_bytes() != wanted:
            fresh = self.bundle.with_suffix(f".{os.getpid()}")
            fresh.write_bytes(wanted)
            fresh.chmod(0o644)
            fresh.replace(self.bundle)


def _certificates(now: datetime, until: datetime) -> tuple[bytes, bytes, bytes]:
    """(the authority, its key, a server's certificate and key), in PEM."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
    from cryptography.x509.oid import ExtendedKeyUsageOID

    begin = now - timedelta(days=1)  # clocks of containers differ
    issuer_key, server_key = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
    issuer = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "Tule, for its functions")])
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "Tule")])
    only = x509.NameConstraints([x509.DNSName(suffix) for suffix in SUFFIXES], None)
    identifier = x509.SubjectKeyIdentifier.from_public_key(issuer_key.public_key())

    def begun(name: x509.Name, key: ec.EllipticCurvePublicKey) -> x509.CertificateBuilder:
        named = x509.CertificateBuilder().subject_name(name).issuer_name(issuer).public_key(key)
        return named.serial_number(x509.random_serial_number()).not_valid_before(begin).not_valid_after(until)

    authority = (
        begun(issuer, issuer_key.public_key())
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(sign=True), critical=True)
        .add_extension(only, critical=True)
        .add_extension(identifier, critical=False)
        .sign(issuer_key, hashes.SHA256())
    )
    server = (
        begun(subject, server_key.public_key())
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(sign=False), critical=True)
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name) for name in names()]), critical=False)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(identifier), critical=False)
        .sign(issuer_key, hashes.SHA256())
    )
    keys = [key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()) for key in (issuer_key, server_key)]
    return authority.public_bytes(Encoding.PEM), keys[0], server.public_bytes(Encoding.PEM) + keys[1]


def _usage(*, sign: bool) -> "x509.KeyUsage":
    from cryptography import x509

    return x509.KeyUsage(
        digital_signature=not sign, key_cert_sign=sign, crl_sign=sign, content_commitment=False,
        key_encipherment=False, data_encipherment=False, key_agreement=False, encipher_only=False, decipher_only=False,
    )  # fmt: skip
