"""Deployment packages on their way in, and the URL by which GetFunction lets them out again."""

import hmac
from base64 import b64encode
from collections.abc import Mapping as Members
from typing import Any
from urllib.parse import parse_qs

from tule.kernel.errors import AwsError
from tule.kernel.ports import BlobRef
from tule.net.messages import HttpRequest, HttpResponse
from tule.services.declaration import Context, Environment
from tule.services.lambda_ import limits
from tule.services.lambda_.execution import execution
from tule.services.lambda_.models import Package
from tule.services.lambda_.names import InvalidParameterValueError

CODE_PATH = "/_aws/lambda/code/"

NO_SOURCE = "Please provide a source for function code."
TWO_SOURCES = "Please do not provide other FunctionCode parameters when providing a ZipFile."


class RequestEntityTooLargeError(AwsError):
    code = "RequestEntityTooLargeException"
    status = 413


async def take_package(ctx: Context, code: Members[str, Any]) -> Package:
    """Fetch a package, store it durably and unpack it, which checks it."""
    data = await _fetch(ctx, code)
    if len(data) > (limits.ZIPPED_MAX_BYTES if code.get("ZipFile") is not None else limits.UNZIPPED_MAX_BYTES):
        raise RequestEntityTooLargeError(f"Zipped size must be smaller than {limits.ZIPPED_MAX_BYTES} bytes")
    if not data:
        raise InvalidParameterValueError("Uploaded file must be a non-empty zip")
    digest = (await ctx.env.ports.blobs.put(data)).sha256
    package = Package(digest, len(data), b64encode(bytes.fromhex(digest)).decode())
    await execution(ctx.env).engine.unpack(package)
    return package


async def _fetch(ctx: Context, code: Members[str, Any]) -> bytes:
    if code.get("ZipFile") is not None:
        if any(code.get(member) for member in ("S3Bucket", "S3Key", "S3ObjectVersion")):
            raise InvalidParameterValueError(TWO_SOURCES)
        return bytes(code["ZipFile"])
    if not (code.get("S3Bucket") and code.get("S3Key")):
        raise InvalidParameterValueError(NO_SOURCE)
    wanted = {"Bucket": code["S3Bucket"], "Key": code["S3Key"]}
    if code.get("S3ObjectVersion"):
        wanted["VersionId"] = code["S3ObjectVersion"]
    try:
        found = await ctx.aws.s3.get_object(**wanted)
    except AwsError as error:
        raise InvalidParameterValueError(
            f"Error occurred while GetObject. S3 Error Code: {error.error_code}. S3 Error Message: {error.message}"
        ) from error
    return await _body(found["Body"])


async def _body(body: Any) -> bytes:
    """A streamed blob as bytes, ended as soon as it is larger than what a package may unzip to."""
    if isinstance(body, bytes | bytearray | memoryview):
        return bytes(body)
    pieces, size = [], 0
    async for piece in body:
        pieces.append(piece)
        size += len(piece)
        if size > limits.UNZIPPED_MAX_BYTES:
            break
    return b"".join(pieces)


def _signature(secret: bytes, digest: str, size: int, expires_s: int) -> str:
    return hmac.new(secret, f"{digest}/{size}/{expires_s}".encode(), "sha256").hexdigest()


def code_url(env: Environment, base_url: str, package: Package) -> str:
    """A URL that gives the package to whoever holds it, for ten minutes of machine time or until Tule restarts."""
    expires_s = env.machine.wall_ms() // 1000 + limits.CODE_URL_VALID_S
    signature = _signature(env.state["code_secret"], package.sha256, package.size_bytes, expires_s)
    query = f"Size={package.size_bytes}&Expires={expires_s}&Signature={signature}"
    return f"{base_url}{CODE_PATH}{package.sha256}?{query}"


async def download_code(ctx: Context, request: HttpRequest) -> HttpResponse:
    """The edge behind `code_url`."""
    digest = request.path.removeprefix(CODE_PATH)
    query = {key: values[-1] for key, values in parse_qs(request.query).items()}
    try:
        size, expires_s = int(query.get("Size", "")), int(query.get("Expires", ""))
    except ValueError:
        return _refusal("AccessDenied", "Access Denied")
    expected = _signature(ctx.env.state["code_secret"], digest, size, expires_s)
    if not hmac.compare_digest(expected.encode(), query.get("Signature", "").encode()):
        return _refusal("SignatureDoesNotMatch", "The URL's signature does not fit its path.")
    if expires_s * 1000 < ctx.env.machine.wall_ms():
        return _refusal("AccessDenied", "Request has expired")
    headers = [("content-type", "application/zip"), ("content-length", str(size))]
    return HttpResponse(200, headers, stream=ctx.env.ports.blobs.read(BlobRef(digest, size)))


def _refusal(code: str, message: str) -> HttpResponse:
    body = f'<?xml version="1.0" encoding="UTF-8"?>\n<Error><Code>{code}</Code><Message>{message}</Message></Error>'
    return HttpResponse(403, [("content-type", "application/xml")], body.encode())
