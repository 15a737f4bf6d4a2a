"""How each protocol refuses a caller: the same refusal has a code, a status and a sentence of its own in each."""

from typing import Final

from tule.kernel.errors import AwsError

# (code, status, message) by family: what json services, query and REST services, and S3 answer. Codes are those of
# https://docs.aws.amazon.com/IAM/latest/APIReference/CommonErrors.html and of S3's list of error codes.
_TABLE: Final[dict[str, dict[str, tuple[str, int, str]]]] = {
    "mismatch": {
        "json": (
            "InvalidSignatureException",
            400,
            (
                "The request signature we calculated does not match the signature you provided. Check your AWS Secret "
                "Access Key and signing method. Consult the service documentation for details."
            ),
        ),
        "query": (
            "SignatureDoesNotMatch",
            403,
            (
                "The request signature we calculated does not match the signature you provided. Check your AWS Secret "
                "Access Key and signing method. Consult the service documentation for details."
            ),
        ),
        "s3": (
            "SignatureDoesNotMatch",
            403,
            (
                "The request signature we calculated does not match the signature you provided. Check your key and "
                "signing method."
            ),
        ),
    },
    "unknown key": {
        "json": ("UnrecognizedClientException", 400, "The security token included in the request is invalid."),
        "query": ("InvalidClientTokenId", 403, "The security token included in the request is invalid."),
        "s3": ("InvalidAccessKeyId", 403, "The AWS Access Key Id you provided does not exist in our records."),
    },
    "wrong token": {
        "json": ("UnrecognizedClientException", 400, "The security token included in the request is invalid."),
        "query": ("InvalidClientTokenId", 403, "The security token included in the request is invalid."),
        "s3": ("InvalidToken", 400, "The provided token is malformed or otherwise invalid."),
    },
    "expired token": {
        "json": ("ExpiredTokenException", 400, "The security token included in the request is expired"),
        "query": ("ExpiredToken", 403, "The security token included in the request is expired"),
        "s3": ("ExpiredToken", 400, "The provided token has expired."),
    },
    "unsigned": {
        "json": ("MissingAuthenticationTokenException", 400, "Request is missing Authentication Token"),
        "query": ("MissingAuthenticationToken", 403, "Request is missing Authentication Token"),
        "s3": ("AccessDenied", 403, "Access Denied"),
    },
    "incomplete": {
        "json": ("IncompleteSignatureException", 400, ""),
        "query": ("IncompleteSignature", 400, ""),
        "s3": (
            "AuthorizationHeaderMalformed",
            400,
            (
                "The authorization header is malformed; the Credential is mal-formed; expecting "
                '"<YOUR-AKID>/YYYYMMDD/REGION/SERVICE/aws4_request".'
            ),
        ),
    },
    "skewed": {
        "json": ("InvalidSignatureException", 400, ""),
        "query": ("SignatureDoesNotMatch", 403, ""),
        "s3": (
            "RequestTimeTooSkewed",
            403,
            "The difference between the request time and the current time is too large.",
        ),
    },
    "expired": {
        "json": ("InvalidSignatureException", 400, ""),
        "query": ("SignatureDoesNotMatch", 403, ""),
        "s3": ("AccessDenied", 403, "Request has expired"),
    },
    "payload": {
        "json": ("InvalidSignatureException", 400, ""),
        "query": ("SignatureDoesNotMatch", 403, ""),
        "s3": (
            "XAmzContentSHA256Mismatch",
            400,
            "The provided 'x-amz-content-sha256' header does not match what was computed.",
        ),
    },
}

_REST_JSON_STATUS: Final = 403


def refusal(kind: str, service: str, protocol: str, message: str = "") -> AwsError:
    """The error for `kind`: mismatch, unknown key, wrong token, expired token, unsigned, incomplete, skewed, expired
    or payload. `message` stands in where the table's own is ""."""
    family = "s3" if service == "s3" else ("json" if protocol in ("json", "rest-json") else "query")
    code, status, text = _TABLE[kind][family]
    if protocol == "rest-json":
        status = _REST_JSON_STATUS
    return AwsError(text or message or _TABLE["mismatch"][family][2], code=code, status=status)
