"""What an HTTP API is made of."""

import msgspec

DEFAULT_STAGE = "$default"
DEFAULT_ROUTE = "$default"
SELECTION = "${request.method} ${request.path}"
"""The one RouteSelectionExpression of HTTP APIs."""


class Cors(msgspec.Struct, frozen=True):
    """CorsConfiguration. With one, the gateway answers preflights and sets the CORS headers of every answer."""

    allow_origins: list[str] = msgspec.field(default_factory=list)
    allow_methods: list[str] = msgspec.field(default_factory=list)
    allow_headers: list[str] = msgspec.field(default_factory=list)
    expose_headers: list[str] = msgspec.field(default_factory=list)
    allow_credentials: bool = False
    max_age: int | None = None


class Api(msgspec.Struct, frozen=True, kw_only=True):
    """An HTTP API."""

    id: str
    account: str
    region: str
    partition: str
    name: str
    created_ms: int
    description: str = ""
    version: str = ""
    cors: Cors | None = None
    endpoint_disabled: bool = False
    tags: dict[str, str] = msgspec.field(default_factory=dict)


class Route(msgspec.Struct, frozen=True, kw_only=True):
    """A route key and the integration it leads to ("" while it leads nowhere)."""

    id: str
    key: str
    integration: str = ""
    operation_name: str = ""
    managed: bool = False


class Integration(msgspec.Struct, frozen=True, kw_only=True):
    """A Lambda function behind an API."""

    id: str
    uri: str
    payload_version: str
    timeout_ms: int
    method: str = "POST"
    description: str = ""
    managed: bool = False


class Deployment(msgspec.Struct, frozen=True, kw_only=True):
    """The routes and integrations as they were at one moment: what a stage serves."""

    id: str
    created_ms: int
    routes: list[Route]
    integrations: list[Integration]
    description: str = ""
    automatic: bool = False


class Stage(msgspec.Struct, frozen=True, kw_only=True):
    """A name under which a deployment is served."""

    name: str
    created_ms: int
    updated_ms: int
    deployment: str = ""
    auto_deploy: bool = False
    description: str = ""
    variables: dict[str, str] = msgspec.field(default_factory=dict)
    tags: dict[str, str] = msgspec.field(default_factory=dict)
    managed: bool = False
    message: str = ""
