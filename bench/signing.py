"""SigV4 as a client does it: whole HTTP requests as bytes, really signed."""

import hmac
import time
from collections.abc import Mapping
from hashlib import sha256

EMPTY: Mapping[str, str] = {}


def _sign(key: bytes, text: str) -> bytes:
    return hmac.digest(key, text.encode(), "sha256")


class Signer:
    """Signs for one service at one endpoint; the derived key is kept for the day."""

    def __init__(self, url: str, service: str, access_key_id: str, secret: str, region: str = "us-east-1") -> None:
        self.host = url.partition("://")[2].rstrip("/")
        self._access_key_id = access_key_id
        self._secret = secret
        self._day = ""
        self._key = b""
        self._scope_tail = f"{region}/{service}/aws4_request"
        self._region, self._service = region, service

    def request(
        self, method: str, path: str, headers: Mapping[str, str] = EMPTY, body: bytes = b"", query: str = ""
    ) -> bytes:
        """A request to send as it is. Header names in lower case; path and query encoded, the query in order."""
        stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
        if stamp[:8] != self._day:
            self._derive(stamp[:8])
        signed = {**headers, "host": self.host, "x-amz-date": stamp}
        names = ";".join(sorted(signed))
        lines = "".join(f"{name}:{signed[name]}\n" for name in sorted(signed))
        canonical = f"{method}\n{path}\n{query}\n{lines}\n{names}\n{sha256(body).hexdigest()}"
        scope = f"{self._day}/{self._scope_tail}"
        text = f"AWS4-HMAC-SHA256\n{stamp}\n{scope}\n{sha256(canonical.encode()).hexdigest()}"
        signature = _sign(self._key, text).hex()
        head = "".join(f"{name}: {value}\r\n" for name, value in signed.items())
        target = f"{path}?{query}" if query else path
        return (
            f"{method} {target} HTTP/1.1\r\n{head}"
            f"authorization: AWS4-HMAC-SHA256 Credential={self._access_key_id}/{scope}, "
            f"SignedHeaders={names}, Signature={signature}\r\n"
            f"content-length: {len(body)}\r\n\r\n"
        ).encode() + body

    def json(self, target: str, body: bytes, version: str = "1.0") -> bytes:
        """A call in AWS's JSON protocol; `target` as X-Amz-Target has it."""
        headers = {"content-type": f"application/x-amz-json-{version}", "x-amz-target": target}
        return self.request("POST", "/", headers, body)

    def _derive(self, day: str) -> None:
        key = _sign(f"AWS4{self._secret}".encode(), day)
        for part in (self._region, self._service, "aws4_request"):
            key = _sign(key, part)
        self._day, self._key = day, key
