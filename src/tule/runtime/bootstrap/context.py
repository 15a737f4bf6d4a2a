"""The second argument of a Python handler, with the names AWS's has."""

import logging
import time
from typing import Any


class _Fields:
    """Attributes from a mapping, None where it has none."""

    _names: tuple[str, ...] = ()

    def __init__(self, values: dict[str, Any]) -> None:
        for name in self._names:
            setattr(self, name, values.get(name))

    def __repr__(self) -> str:
        return f"{type(self).__name__}([" + ",".join(f"{name}={getattr(self, name)}" for name in self._names) + "])"


class CognitoIdentity(_Fields):
    _names = ("cognito_identity_id", "cognito_identity_pool_id")


class Client(_Fields):
    _names = ("installation_id", "app_title", "app_version_name", "app_version_code", "app_package_name")


class ClientContext:
    def __init__(self, values: dict[str, Any]) -> None:
        self.client = Client(values["client"]) if isinstance(values.get("client"), dict) else None
        self.custom = values.get("custom")
        self.env = values.get("env")


class LambdaContext:
    """One invocation. `_deadline_ms` is on the machine's monotonic clock."""

    def __init__(self, claim: dict[str, Any], head: dict[str, Any]) -> None:
        self.aws_request_id = head["request_id"]
        self.invoked_function_arn = head["arn"]
        self.function_name = claim["name"]
        self.function_version = claim["version"]
        self.memory_limit_in_mb = str(claim["memory_mb"])
        self.log_group_name = claim["log_group"]
        self.log_stream_name = claim["log_stream"]
        self.identity = CognitoIdentity({})
        client = head.get("client_context")
        self.client_context = ClientContext(client) if isinstance(client, dict) else None
        self.tenant_id = None
        self._deadline_ms = head["deadline_ms"]

    def get_remaining_time_in_millis(self) -> int:
        return max(0, int(self._deadline_ms - time.monotonic() * 1000))

    def log(self, message: object) -> None:
        logging.getLogger().info(message)

    def __repr__(self) -> str:
        return f"LambdaContext([aws_request_id={self.aws_request_id},function_name={self.function_name}])"
