"""Who says they sent a request: SigV4's header or query parameters, read without judging them."""

from dataclasses import dataclass
from functools import lru_cache
from typing import Final
from urllib.parse import unquote

from tule.net.messages import HttpRequest

ALGORITHM: Final = "AWS4-HMAC-SHA256"
SIGNATURE_LENGTH: Final = 64

LONGEST_KEPT_HEADER: Final = 1024
"""Longer headers are read anew each time, so that nobody fills memory with them (ours; usual ones have 300 bytes)."""


@dataclass(slots=True)
class Signature:
    """The claims of a signed request. What is missing is ""."""

    access_key_id: str
    date: str = ""
    """Of the scope: YYYYMMDD."""
    region: str = ""
    service: str = ""
    """The signing name."""
    signed_headers: str = ""
    signature: str = ""
    algorithm: str = ALGORITHM
    presigned: bool = False
    timestamp: str = ""
    """YYYYMMDDTHHMMSSZ, of a presigned request; others have it in a header."""
    expires: str = ""
    """Seconds, of a presigned request."""
    token: str = ""
    """Session token, of a presigned request."""


def read_signature(request: HttpRequest) -> Signature | None:
    """The claims in the Authorization header or in the query string; None for an unsigned request."""
    header = request.headers.get("authorization")
    if header is not None:
        return _from_header(header)
    query = request.query
    if query and ("X-Amz-Credential=" in query or "AWSAccessKeyId=" in query):
        return _from_query(query)
    return None


def _from_header(header: str) -> Signature | None:
    # A client's header is the same for a day but for the signature at its end.
    claims = _claims(header[:-SIGNATURE_LENGTH]) if len(header) <= LONGEST_KEPT_HEADER else None
    if claims is not None:
        return Signature(*claims, header[-SIGNATURE_LENGTH:])
    algorithm, _, rest = header.partition(" ")
    if not algorithm.startswith("AWS4-"):
        if algorithm == "AWS":  # the second version of signatures, which S3's oldest clients send
            return Signature(rest.partition(":")[0], service="s3", algorithm="AWS")
        return None
    return _read_fields(algorithm, rest)


@lru_cache(maxsize=4096)
def _claims(head: str) -> tuple[str, str, str, str, str] | None:
    """Key, date, region, service and signed headers of a header up to its signature; None when it is unusual."""
    if not head.startswith(ALGORITHM + " ") or not head.endswith("Signature="):
        return None
    found = _read_fields(ALGORITHM, head.removeprefix(ALGORITHM))
    return found.access_key_id, found.date, found.region, found.service, found.signed_headers


def _read_fields(algorithm: str, text: str) -> Signature:
    fields = {}
    for part in text.split(","):
        name, _, value = part.partition("=")
        fields[name.strip()] = value.strip()
    found = _scoped(fields.get("Credential", "").split("/"), algorithm)
    found.signed_headers = fields.get("SignedHeaders", "")
    found.signature = fields.get("Signature", "")
    return found


def _scoped(scope: list[str], algorithm: str) -> Signature:
    if len(scope) >= 5:
        key = "/".join(scope[:-4])
        return Signature(key, scope[-4], scope[-3], scope[-2], algorithm=algorithm)
    if len(scope) == 4:  # SigV4a has no region in its scope
        return Signature(scope[0], scope[1], "", scope[2], algorithm=algorithm)
    return Signature(scope[0], algorithm=algorithm)


def _from_query(query: str) -> Signature:
    fields = {}
    for pair in query.split("&"):
        name, _, value = pair.partition("=")
        if name.startswith("X-Amz-") or name == "AWSAccessKeyId":
            fields[name] = unquote(value)
    if "X-Amz-Credential" not in fields:
        return Signature(fields["AWSAccessKeyId"], service="s3", algorithm="AWS", presigned=True)
    found = _scoped(fields["X-Amz-Credential"].split("/"), fields.get("X-Amz-Algorithm", ""))
    found.presigned = True
    found.signed_headers = fields.get("X-Amz-SignedHeaders", "")
    found.signature = fields.get("X-Amz-Signature", "")
    found.timestamp = fields.get("X-Amz-Date", "")
    found.expires = fields.get("X-Amz-Expires", "")
    found.token = fields.get("X-Amz-Security-Token", "")
    return found
