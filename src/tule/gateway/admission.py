"""Who may speak to Tule at all: no web page of a stranger, no name that DNS was made to point here.

A browser on this machine reaches loopback for every page it shows. Two headers that pages can't forge tell such
requests apart: `Origin` and `Sec-Fetch-Site`. A page that rebinds its own name to 127.0.0.1 is same-origin to the
browser, but its name stands in `Host`.
"""

import ipaddress
from collections.abc import Iterable
from typing import Final
from urllib.parse import urlsplit

import msgspec

from tule.net.messages import Headers, HttpRequest, HttpResponse

MAX_REMEMBERED: Final = 1024
"""Hosts and origins whose verdict is kept (ours); a flood of names starts the memory afresh."""

PREFLIGHT_MAX_AGE_S: Final = 600
"""How long a browser may keep a preflight's answer (ours; Chromium caps at 7,200 s)."""

_AWS_SUFFIXES: Final = (".amazonaws.com", ".amazonaws.com.cn", ".api.aws", ".on.aws")
_EXPOSED: Final = "*, x-amzn-requestid, x-amz-request-id, x-amzn-errortype, x-amz-crc32, etag"


def host_name(authority: str) -> str:
    """The name in a Host header: lower case, without port, brackets and a final dot."""
    text = authority.strip().lower()
    if text.startswith("["):
        return text[1:].partition("]")[0]
    name = text.rpartition(":")[0] if text.count(":") == 1 else text
    return name.rstrip(".")


def _address(name: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(name)
    except ValueError:
        return None


def is_loopback(name: str) -> bool:
    """Whether `name` can only mean this machine (RFC 6761 keeps localhost and its subdomains there)."""
    if name == "localhost" or name.endswith(".localhost"):
        return True
    address = _address(name)
    return address is not None and address.is_loopback


class Admission:
    """The first step of the chain.

    `hosts` and `origins` are what the configuration adds: names ("tule.internal", "*.tule.internal") and origins
    ("https://console.example"). `any_address` admits every literal address as Host: right when Tule listens beyond
    loopback, since an address can't be rebound.
    """

    def __init__(self, hosts: Iterable[str] = (), origins: Iterable[str] = (), *, any_address: bool = False) -> None:
        self._names = frozenset(name.lower() for name in hosts if not name.startswith("*."))
        self._suffixes = tuple(name[1:].lower() for name in hosts if name.startswith("*."))
        self._origins = frozenset(origin.lower().rstrip("/") for origin in origins)
        self._any_address = any_address
        self._hosts_seen: dict[str, bool] = {}
        self._origins_seen: dict[str, bool] = {}

    def host_allowed(self, authority: str) -> bool:
        """Whether a Host header names this machine, AWS or what the configuration allows."""
        verdict = self._hosts_seen.get(authority)
        if verdict is None:
            verdict = self._judge_host(host_name(authority))
            _remember(self._hosts_seen, authority, verdict=verdict)
        return verdict

    def origin_allowed(self, origin: str) -> bool:
        """Whether a page of `origin` may call the cloud's own endpoints."""
        verdict = self._origins_seen.get(origin)
        if verdict is None:
            verdict = self._judge_origin(origin)
            _remember(self._origins_seen, origin, verdict=verdict)
        return verdict

    def refuse_host(self, request: HttpRequest) -> HttpResponse | None:
        """None, or the answer for a Host that nobody allowed."""
        authority = request.headers.get("host", "")
        if self._hosts_seen.get(authority) or self.host_allowed(authority):
            return None
        return forbidden(
            "HostNotAllowed",
            f'Tule does not answer for the host name "{authority[:255]}". Use localhost, or add the name to '
            "allowed_hosts in tule.toml (or TULE_ALLOWED_HOSTS) if you meant Tule to be reached by it.",
        )

    def refuse_page(self, request: HttpRequest) -> HttpResponse | None:
        """None, or the answer for a web page that may not call what is not an application's own endpoint."""
        headers = request.headers
        origin = headers.get("origin")
        if origin is not None:
            if self.origin_allowed(origin):
                return None
        elif headers.get("sec-fetch-site") != "cross-site":
            return None
        return forbidden(
            "OriginNotAllowed",
            f"Web pages of {origin[:255] if origin else 'other sites'} may not call this endpoint. Add the origin to "
            "allowed_origins in tule.toml (or TULE_ALLOWED_ORIGINS) if the page is yours.",
        )

    def _judge_host(self, name: str) -> bool:
        if is_loopback(name) or name.endswith(_AWS_SUFFIXES):
            return True
        if name in self._names or (self._suffixes and name.endswith(self._suffixes)):
            return True
        return self._any_address and _address(name) is not None

    def _judge_origin(self, origin: str) -> bool:
        if origin.lower() in self._origins:
            return True
        try:
            parts = urlsplit(origin)
            name = parts.hostname
        except ValueError:
            return False
        return parts.scheme in ("http", "https") and name is not None and is_loopback(name)


def _remember(seen: dict[str, bool], key: str, *, verdict: bool) -> None:
    if len(seen) >= MAX_REMEMBERED:
        seen.clear()
    seen[key] = verdict


def forbidden(code: str, message: str) -> HttpResponse:
    """403 that says why, in JSON, with nothing a page of another site could read."""
    body = msgspec.json.encode({"__type": code, "message": message})
    return HttpResponse(403, [("content-type", "application/json")], body)


def cors_headers(origin: str) -> Headers:
    """What lets a page of an allowed origin read an answer."""
    return [
        ("access-control-allow-origin", origin),
        ("access-control-expose-headers", _EXPOSED),
        ("vary", "origin"),
    ]


def preflight(request: HttpRequest) -> HttpResponse:
    """The answer to an allowed origin's preflight."""
    asked = request.headers
    headers = cors_headers(asked.get("origin", ""))
    headers += [
        ("access-control-allow-methods", asked.get("access-control-request-method", "GET, POST, PUT, DELETE, HEAD")),
        ("access-control-allow-headers", asked.get("access-control-request-headers", "*")),
        ("access-control-max-age", str(PREFLIGHT_MAX_AGE_S)),
    ]
    return HttpResponse(204, headers)
