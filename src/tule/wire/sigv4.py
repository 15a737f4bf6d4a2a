"""Signature Version 4: is this request really from the holder of the key?

https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html
"""

import hmac
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from hashlib import sha256
from typing import Any, Final
from urllib.parse import quote, unquote

from tule.kernel.ports import AccessKey
from tule.net.messages import HttpRequest
from tule.wire import sigv2
from tule.wire.aws_chunked import open_chunked
from tule.wire.refusals import refusal
from tule.wire.routing import Route
from tule.wire.signatures import ALGORITHM, LONGEST_KEPT_HEADER, Signature

SKEW_S: Final = 15 * 60
"""How far a request's time may be from ours (the page above)."""

LONGEST_PRESIGNED_S: Final = 604_800
"""A presigned URL's longest life: seven days (S3's documentation of query authentication)."""

MAX_REMEMBERED_KEYS: Final = 4096
_UNSIGNED: Final = "UNSIGNED-PAYLOAD"
_STREAMING: Final = "STREAMING-"
_SAFE: Final = "-_.~"


class SigningKey:
    """A day's key for one region and service: HMAC with both pads hashed already."""

    __slots__ = ("_inner", "_outer", "scope")

    def __init__(self, secret: str, date: str, region: str, service: str) -> None:
        self.scope = f"{date}/{region}/{service}/aws4_request"
        key = ("AWS4" + secret).encode()
        for part in (date, region, service, "aws4_request"):
            key = hmac.digest(key, part.encode(), "sha256")
        padded = key.ljust(64, b"\0")
        self._inner = sha256(bytes(byte ^ 0x36 for byte in padded))
        self._outer = sha256(bytes(byte ^ 0x5C for byte in padded))

    def sign(self, text: bytes) -> str:
        """The signature of a string to sign, in hexadecimal."""
        inner = self._inner.copy()
        inner.update(text)
        outer = self._outer.copy()
        outer.update(inner.digest())
        return outer.hexdigest()


@dataclass(frozen=True, slots=True)
class Seed:
    """What the signatures of a body's chunks go on from."""

    key: SigningKey
    timestamp: str
    scope: str
    signature: str


class Verifier:
    """Verifies signatures and opens aws-chunked bodies."""

    def __init__(self) -> None:
        self._keys: dict[tuple[str, str, str, str], SigningKey] = {}
        self._moment = ("", 0)

    def admit(self, request: HttpRequest, route: Route, key: AccessKey | None, now_ms: int) -> None:
        """Verify against `key` (None: no verification) and put the real body in place of an aws-chunked one.

        Raises AwsError as the route's service refuses.
        """
        signing_key = None
        if key is not None:
            if route.signature is not None and route.signature.algorithm == "AWS":
                sigv2.verify(request, route, key, now_ms)
            else:
                signing_key = self.verify(request, route, key, now_ms)
        declared = request.headers.get("x-amz-content-sha256", "")
        if declared.startswith(_STREAMING):
            seed = None
            if signing_key is not None and (signature := route.signature) is not None:
                timestamp = request.headers.get("x-amz-date", "")
                seed = Seed(signing_key, timestamp, _scope(signature), signature.signature)
            open_chunked(request, declared, seed)

    def verify(self, request: HttpRequest, route: Route, key: AccessKey, now_ms: int) -> SigningKey:
        """Raises AwsError unless `request` was signed with `key`, now, for this service."""
        signature = route.signature
        assert signature is not None
        headers = request.headers
        if signature.algorithm != ALGORITHM:
            raise refusal("mismatch", route.service, route.protocol, "Only AWS4-HMAC-SHA256 can be verified.")
        timestamp = signature.timestamp if signature.presigned else headers.get("x-amz-date", "")
        if not (signature.signature and signature.signed_headers and signature.date and timestamp):
            raise refusal("incomplete", route.service, route.protocol, _incomplete(request, signature, timestamp))
        self._check_time(route, signature, timestamp, now_ms)
        if key.session_token or key.expires_ms is not None:
            self._check_token(request, route, signature, key, now_ms)
        identity = (key.secret, signature.date, signature.region, signature.service)
        signing_key = self._keys.get(identity) or self._signing_key(identity)
        if signature.presigned or request.stream is not None or "x-amz-content-sha256" in headers:
            payload = self._payload_hash(request, route, signature)
        else:
            payload = sha256(request.body).hexdigest()
        head = f"{ALGORITHM}\n{timestamp}\n{signing_key.scope}\n"
        before, after = _around_path(request, signature, payload)
        for path in ("/",) if request.path == "/" else _canonical_paths(request.path, signature.service):
            canonical = f"{before}{path}{after}".encode("latin-1", "replace")
            text = head + sha256(canonical).hexdigest()
            if hmac.compare_digest(signing_key.sign(text.encode()), signature.signature):
                return signing_key
        raise refusal("mismatch", route.service, route.protocol)

    def _signing_key(self, identity: tuple[str, str, str, str]) -> SigningKey:
        if len(self._keys) >= MAX_REMEMBERED_KEYS:
            self._keys.clear()
        made = self._keys[identity] = SigningKey(*identity)
        return made

    def _check_time(self, route: Route, signature: Signature, timestamp: str, now_ms: int) -> None:
        signed_s = self._seconds(timestamp)
        now_s = now_ms // 1000
        if signed_s is None or timestamp[:8] != signature.date:
            text = "Date in Credential scope does not match YYYYMMDD from ISO-8601 version of date from HTTP"
            raise refusal("skewed", route.service, route.protocol, text)
        if signature.presigned:
            expires = signature.expires
            life_s = int(expires) if expires.isdecimal() and len(expires) < 10 else -1
            if not 0 < life_s <= LONGEST_PRESIGNED_S or now_s > signed_s + life_s:
                raise refusal("expired", route.service, route.protocol, _expired(signed_s, now_s, life_s))
            if signed_s > now_s + SKEW_S:
                raise refusal("skewed", route.service, route.protocol, _early(signed_s, now_s))
        elif signed_s < now_s - SKEW_S:
            raise refusal("skewed", route.service, route.protocol, _expired(signed_s, now_s, SKEW_S))
        elif signed_s > now_s + SKEW_S:
            raise refusal("skewed", route.service, route.protocol, _early(signed_s, now_s))

    def _seconds(self, timestamp: str) -> int | None:
        """Requests of one second share their timestamp."""
        known, seconds = self._moment
        if known == timestamp:
            return seconds
        try:
            moment = datetime.strptime(timestamp, "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
        except ValueError:
            return None
        self._moment = (timestamp, int(moment.timestamp()))
        return self._moment[1]

    def _check_token(
        self, request: HttpRequest, route: Route, signature: Signature, key: AccessKey, now_ms: int
    ) -> None:
        if key.expires_ms is not None and now_ms >= key.expires_ms:
            raise refusal("expired token", route.service, route.protocol)
        if key.session_token:
            token = signature.token if signature.presigned else request.headers.get("x-amz-security-token", "")
            if not hmac.compare_digest(token.encode(), key.session_token.encode()):
                raise refusal("wrong token", route.service, route.protocol)

    def _payload_hash(self, request: HttpRequest, route: Route, signature: Signature) -> str:
        declared = request.headers.get("x-amz-content-sha256", "")
        if signature.presigned and signature.service == "s3":
            return declared or _UNSIGNED
        if declared == _UNSIGNED or declared.startswith(_STREAMING):
            return declared
        if request.stream is not None:
            if not declared:
                raise refusal("payload", route.service, route.protocol)
            request.stream = _Hashed(request.stream, declared, route)
            return declared
        actual = sha256(request.body).hexdigest()
        if declared and declared != actual:
            raise refusal("payload", route.service, route.protocol)
        return actual


class _Hashed:
    """A streamed body that refuses to end when its hash is not the one that was signed."""

    def __init__(self, stream: Any, declared: str, route: Route) -> None:
        self._stream = stream
        self._declared = declared
        self._route = route
        self._hash = sha256()

    def __aiter__(self) -> "_Hashed":
        return self

    async def __anext__(self) -> bytes:
        try:
            chunk: bytes = await anext(self._stream)
        except StopAsyncIteration:
            if self._hash.hexdigest() != self._declared:
                raise refusal("payload", self._route.service, self._route.protocol) from None
            raise
        self._hash.update(chunk)
        return chunk


def _scope(signature: Signature) -> str:
    return f"{signature.date}/{signature.region}/{signature.service}/aws4_request"


@lru_cache(maxsize=1024)
def _names(signed_headers: str) -> tuple[str, ...]:
    return tuple(signed_headers.split(";"))


def _around_path(request: HttpRequest, signature: Signature, payload: str) -> tuple[str, str]:
    """The canonical request before and after its path."""
    headers = request.headers
    names = signature.signed_headers
    lines = []
    for name in _names(names) if len(names) <= LONGEST_KEPT_HEADER else names.split(";"):
        value = headers.get(name, "")
        lines.append(f"{name}:{' '.join(value.split()) if ' ' in value else value}\n")
    query = _canonical_query(request.query) if request.query else ""
    return f"{request.method}\n", f"\n{query}\n{''.join(lines)}\n{names}\n{payload}"


def _canonical_paths(path: str, service: str) -> list[str]:
    """What the client may have signed: S3 signs the path as sent, everybody else encodes and tidies it once more."""
    tidy = quote(unquote(path), safe="/" + _SAFE)
    if service == "s3":
        return [path] if path == tidy else [path, tidy]
    again = quote(path, safe="/" + _SAFE)
    found = [quote(tidy, safe="/" + _SAFE), again, _without_dots(again), tidy, path]
    return list(dict.fromkeys(found))


def _without_dots(path: str) -> str:
    parts: list[str] = []
    for part in path.split("/"):
        if part == "..":
            if parts:
                parts.pop()
        elif part not in ("", "."):
            parts.append(part)
    return "/" + "/".join(parts) + ("/" if path.endswith("/") and parts else "")


def _canonical_query(query: str) -> str:
    pairs = []
    for pair in query.split("&"):
        name, _, value = pair.partition("=")
        if name and name != "X-Amz-Signature":
            pairs.append((quote(unquote(name), safe=_SAFE), quote(unquote(value), safe=_SAFE)))
    pairs.sort()
    return "&".join([f"{name}={value}" for name, value in pairs])


def _stamp(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y%m%dT%H%M%SZ")


def _expired(signed_s: int, now_s: int, life_s: int) -> str:
    edge = _stamp(now_s - SKEW_S)
    del life_s
    return f"Signature expired: {_stamp(signed_s)} is now earlier than {edge} ({_stamp(now_s)} - 15 min.)"


def _early(signed_s: int, now_s: int) -> str:
    edge = _stamp(now_s + SKEW_S)
    return f"Signature not yet current: {_stamp(signed_s)} is still later than {edge} ({_stamp(now_s)} + 15 min.)"


def _incomplete(request: HttpRequest, signature: Signature, timestamp: str) -> str:
    if signature.presigned:
        parts = (
            ("Algorithm", signature.algorithm),
            ("Credential", signature.date),
            ("Signature", signature.signature),
            ("SignedHeaders", signature.signed_headers),
            ("Date", timestamp),
        )
        missing = "".join(
            f"AWS query-string parameters must include 'X-Amz-{name}'. " for name, has in parts if not has
        )
        return f"{missing}Re-examine the query-string parameters."
    text = ""
    for name, has in (
        ("Credential", signature.date),
        ("Signature", signature.signature),
        ("SignedHeaders", signature.signed_headers),
    ):
        if not has:
            text += f"Authorization header requires '{name}' parameter. "
    if not timestamp:
        text += "Authorization header requires existence of either a 'X-Amz-Date' or a 'Date' header. "
    return f"{text}Authorization={request.headers.get('authorization', '')}"
