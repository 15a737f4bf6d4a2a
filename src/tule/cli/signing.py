"""Signed calls of AWS's APIs without an SDK: the command line must start in a blink."""

import datetime as dt
import hashlib
import hmac
import http.client
import json
from typing import Any, Final
from urllib.parse import quote, urlsplit

from tule.cli.outcome import Failure
from tule.cli.running import Running, not_running
from tule.kernel.clocks import SystemClock

TIMEOUT_S: Final = 930.0
"""A function may take fifteen minutes."""


class ApiError(Failure):
    """An AWS error; `code` is its name."""

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(f"{code}: {message}" if message else f"{code} (HTTP {status})")
        self.code = code


class Api:
    """One service of one Tule."""

    def __init__(self, running: Running, service: str) -> None:
        self._service = service
        self._region = running.region
        self._url = urlsplit(running.url)
        pair = running.admin("GET", "credentials")
        self._key_id: str = pair["access_key_id"]
        self._secret: str = pair["secret_access_key"]

    def json(self, target: str, body: dict[str, Any]) -> dict[str, Any]:
        """Call an operation of a JSON protocol ("Logs_20140328.FilterLogEvents")."""
        headers = {"content-type": "application/x-amz-json-1.1", "x-amz-target": target}
        _, _, raw = self.call("POST", "/", headers, json.dumps(body).encode())
        answer: dict[str, Any] = json.loads(raw or b"{}")
        return answer

    def call(self, method: str, path: str, headers: dict[str, str], body: bytes) -> tuple[int, dict[str, str], bytes]:
        """Send one signed request. `path` is already encoded and has no query."""
        signed = self._signed(method, path, headers, body)
        connection = http.client.HTTPConnection(self._url.hostname or "127.0.0.1", self._url.port, timeout=TIMEOUT_S)
        try:
            connection.request(method, path, body, signed)
            response = connection.getresponse()
            raw = response.read()
        except OSError as error:
            raise not_running(f"{self._url.geturl()} does not answer ({error})") from error
        finally:
            connection.close()
        answered = {name.lower(): value for name, value in response.getheaders()}
        if response.status >= 400:
            raise _error(response.status, answered, raw)
        return response.status, answered, raw

    def _signed(self, method: str, path: str, headers: dict[str, str], body: bytes) -> dict[str, str]:
        """`headers` with a Signature Version 4 (the AWS General Reference has the recipe)."""
        now = dt.datetime.fromtimestamp(SystemClock().wall_ms() / 1000, dt.UTC)
        stamp, day = now.strftime("%Y%m%dT%H%M%SZ"), now.strftime("%Y%m%d")
        digest = hashlib.sha256(body).hexdigest()
        every = {**headers, "host": self._url.netloc, "x-amz-date": stamp, "x-amz-content-sha256": digest}
        names = ";".join(sorted(every))
        lines = "".join(f"{name}:{every[name].strip()}\n" for name in sorted(every))
        canonical = f"{method}\n{quote(path, safe='/-_.~')}\n\n{lines}\n{names}\n{digest}"
        scope = f"{day}/{self._region}/{self._service}/aws4_request"
        text = f"AWS4-HMAC-SHA256\n{stamp}\n{scope}\n{hashlib.sha256(canonical.encode()).hexdigest()}"
        key = f"AWS4{self._secret}".encode()
        for part in (day, self._region, self._service, "aws4_request"):
            key = hmac.digest(key, part.encode(), "sha256")
        signature = hmac.digest(key, text.encode(), "sha256").hex()
        every["authorization"] = (
            f"AWS4-HMAC-SHA256 Credential={self._key_id}/{scope}, SignedHeaders={names}, Signature={signature}"
        )
        return every


def _error(status: int, headers: dict[str, str], raw: bytes) -> ApiError:
    try:
        body = json.loads(raw)
    except ValueError:
        body = {}
    if not isinstance(body, dict):
        body = {}
    code = headers.get("x-amzn-errortype") or body.get("__type") or body.get("code") or "Error"
    message = body.get("message") or body.get("Message") or ""
    return ApiError(status, str(code).split(":")[0].rpartition("#")[2], str(message))
