"""Who may call a function URL: everybody whom its resource policy lets, or who signed as somebody it lets.

With AuthType NONE the policy decides alone, as on AWS. With AWS_IAM the signature is verified as everywhere in Tule
(keys that nobody minted name an account, unless every signature is to be verified); callers of the function's own
account pass, since nothing evaluates their identity policies yet, others need a statement of the policy.
"""

import re
from dataclasses import dataclass
from typing import Any

from tule.kernel.context import DEFAULT_ACCOUNT, Principal, root_principal
from tule.kernel.errors import AwsError
from tule.net.messages import HttpRequest
from tule.services.declaration import Environment
from tule.services.lambda_.function_url import NONE, FunctionUrl, UrlPlace
from tule.services.lambda_.models import Policy
from tule.wire.routing import Route
from tule.wire.signatures import Signature, read_signature
from tule.wire.sigv4 import Verifier

ACTIONS = frozenset({"lambda:InvokeFunctionUrl", "lambda:*", "*"})
FORBIDDEN = (
    "Forbidden. For troubleshooting Function URL authorization issues, see: "
    "https://docs.aws.amazon.com/lambda/latest/dg/urls-auth.html"
)
_ACCOUNT = re.compile(r"\d{12}")
_SERVICE = "lambda"


class ForbiddenError(AwsError):
    """The URL answers 403 with this message."""

    code = "AccessDeniedException"
    status = 403


@dataclass(frozen=True, slots=True)
class Caller:
    """Who signed."""

    account: str
    principal: Principal

    def authorizer(self) -> dict[str, Any]:
        """As the function is told."""
        principal = self.principal
        return {
            "iam": {
                "accessKey": principal.access_key_id,
                "accountId": self.account,
                "callerId": principal.user_id,
                "cognitoIdentity": None,
                "principalOrgId": None,
                "userArn": principal.arn,
                "userId": principal.user_id,
            }
        }


def admit(
    env: Environment, request: HttpRequest, url: FunctionUrl, place: UrlPlace, policy: Policy | None
) -> Caller | None:
    """The caller, None if nobody was asked. Raises `ForbiddenError`."""
    if url.auth_type == NONE:
        if not _grants(policy, NONE, "", ""):
            raise ForbiddenError(FORBIDDEN)
        return None
    caller = _signed(env, request)
    if caller.account != place.account and not _grants(policy, url.auth_type, caller.account, caller.principal.arn):
        raise ForbiddenError(FORBIDDEN)
    return caller


def _signed(env: Environment, request: HttpRequest) -> Caller:
    signature = read_signature(request)
    if signature is None:
        raise ForbiddenError("Forbidden")
    if signature.service != _SERVICE:
        raise ForbiddenError(f"Credential should be scoped to correct service: '{_SERVICE}'.")
    key = env.ports.credentials.find(signature.access_key_id)
    if key is None:
        return _unknown(env, signature)
    try:
        Verifier().admit(
            request, Route(_SERVICE, "InvokeFunctionUrl", "rest-json", signature), key, env.machine.wall_ms()
        )
    except AwsError as error:
        raise ForbiddenError(error.message) from error
    return Caller(key.account, key.principal)


def _unknown(env: Environment, signature: Signature) -> Caller:
    """Somebody with a key that nobody minted."""
    key_id = signature.access_key_id
    if env.ports.verify_signatures:
        raise ForbiddenError("The security token included in the request is invalid.")
    account = key_id if _ACCOUNT.fullmatch(key_id) else DEFAULT_ACCOUNT
    return Caller(account, root_principal(account, key_id))


def _grants(policy: Policy | None, auth_type: str, account: str, arn: str) -> bool:
    """Whether a statement lets this caller ("" is anybody) invoke by URL."""
    statements = policy.statements if policy is not None else []
    return any(_statement_grants(statement, auth_type, account, arn) for statement in statements)


def _statement_grants(statement: dict[str, Any], auth_type: str, account: str, arn: str) -> bool:
    if statement["Effect"] != "Allow" or statement["Action"] not in ACTIONS:
        return False
    named = statement["Principal"]
    if named != "*":
        allowed = named.get("AWS", "") if isinstance(named, dict) else ""
        if allowed not in ("*", arn, account, f"arn:aws:iam::{account}:root") or not account:
            return False
    return all(
        operator == "StringEquals" and key == "lambda:FunctionUrlAuthType" and value == auth_type
        for operator, pairs in (statement.get("Condition") or {}).items()
        for key, value in pairs.items()
    )
