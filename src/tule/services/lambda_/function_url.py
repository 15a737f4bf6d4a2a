"""Function URLs as they are kept."""

import msgspec

BUFFERED = "BUFFERED"
RESPONSE_STREAM = "RESPONSE_STREAM"
NONE = "NONE"
AWS_IAM = "AWS_IAM"


class Cors(msgspec.Struct, frozen=True, kw_only=True):
    """What pages of other origins may do. None is what the caller left out."""

    allow_credentials: bool | None = None
    allow_headers: tuple[str, ...] | None = None
    allow_methods: tuple[str, ...] | None = None
    allow_origins: tuple[str, ...] | None = None
    expose_headers: tuple[str, ...] | None = None
    max_age_s: int | None = None


class FunctionUrl(msgspec.Struct, frozen=True, kw_only=True):
    """The URL of a function or of one of its aliases."""

    id: str
    auth_type: str
    created_ms: int
    modified_ms: int
    invoke_mode: str = BUFFERED
    cors: Cors | None = None


class UrlPlace(msgspec.Struct, frozen=True):
    """Where the URL of an id is kept: with which function, under which qualifier ("" is the function itself)."""

    account: str
    region: str
    function: str
    qualifier: str
