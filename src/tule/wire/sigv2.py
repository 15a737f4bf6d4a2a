"""Signature Version 2, which S3 still takes and which boto3 still makes presigned URLs with unless told otherwise.

https://docs.aws.amazon.com/AmazonS3/latest/userguide/RESTAuthentication.html
"""

import base64
import hmac
from typing import Final
from urllib.parse import unquote_plus

from tule.kernel.ports import AccessKey
from tule.net.messages import HttpRequest
from tule.wire.refusals import refusal
from tule.wire.routing import Route

SIGNED_PARAMETERS: Final = frozenset(
    {
        "accelerate", "acl", "analytics", "cors", "defaultObjectAcl", "delete", "inventory", "lifecycle", "location",
        "logging", "metrics", "notification", "object-lock", "partNumber", "policy", "replication", "requestPayment",
        "response-cache-control", "response-content-disposition", "response-content-encoding",
        "response-content-language", "response-content-type", "response-expires", "restore", "select", "select-type",
        "storageClass", "tagging", "torrent", "uploadId", "uploads", "versionId", "versioning", "versions", "website",
    }
)  # fmt: skip
"""Query parameters that are part of the resource (the page above, and what the SDKs sign)."""

LATEST: Final = 2**33


def verify(request: HttpRequest, route: Route, key: AccessKey, now_ms: int) -> None:
    """Raises AwsError unless `request` was signed with `key`, by header or by query, and has not expired."""
    parameters = _parameters(request.query)
    if "Signature" in parameters:
        signature, date = parameters["Signature"], parameters.get("Expires", "")
        if not (date.isdecimal() and int(date) < LATEST):
            raise refusal("incomplete", route.service, route.protocol)
        if int(date) < now_ms // 1000:
            raise refusal("expired", route.service, route.protocol, "Request has expired")
    else:
        signature = request.headers.get("authorization", "").rpartition(":")[2]
        date = "" if "x-amz-date" in request.headers else request.headers.get("date", "")
    token = parameters.get("x-amz-security-token") or request.headers.get("x-amz-security-token", "")
    if key.session_token and token != key.session_token:
        raise refusal("wrong token", route.service, route.protocol)
    if key.expires_ms is not None and now_ms >= key.expires_ms:
        raise refusal("expired token", route.service, route.protocol)
    for resource in _resources(request, route, parameters):
        text = f"{_string_to_sign(request, parameters, date)}{resource}".encode()
        expected = base64.b64encode(hmac.digest(key.secret.encode(), text, "sha1"))
        if hmac.compare_digest(expected, signature.encode()):
            return
    raise refusal("mismatch", route.service, route.protocol)


def _parameters(query: str) -> dict[str, str]:
    pairs = (pair.partition("=") for pair in query.split("&") if pair)
    return {name: unquote_plus(value) for name, _, value in pairs}


def _string_to_sign(request: HttpRequest, parameters: dict[str, str], date: str) -> str:
    """All of it but the resource."""
    # A presigned URL carries in its query what was signed as headers.
    said = {**{name.lower(): value for name, value in parameters.items()}, **request.headers}
    standard = [said.get("content-md5", ""), said.get("content-type", "")]
    own = "".join(f"{name}:{' '.join(said[name].split())}\n" for name in sorted(said) if name.startswith("x-amz-"))
    return "\n".join([request.method, *standard, date, own])


def _resources(request: HttpRequest, route: Route, parameters: dict[str, str]) -> list[str]:
    """What was asked for. Clients sign a bucket by its path with and without a slash at its end."""
    bucket = route.labels.get("Bucket", "")
    by_host = bool(bucket) and request.headers.get("host", "").startswith(f"{bucket}.")
    path = f"/{bucket}{request.path}" if by_host else request.path
    signed = [
        f"{name}={parameters[name]}" if parameters[name] else name
        for name in sorted(parameters)
        if name in SIGNED_PARAMETERS
    ]
    tail = "?" + "&".join(signed) if signed else ""
    return [path + tail] if path.endswith("/") or path.count("/") > 1 else [path + tail, f"{path}/{tail}"]
