"""Policy documents at the edge: well-formed or refused, never evaluated here."""

from typing import Any, Final
from urllib.parse import quote

import msgspec

from tule.services.iam.errors import LimitExceededError, MalformedPolicyDocumentError

_VERSIONS: Final = ("2012-10-17", "2008-10-17")
_EFFECTS: Final = ("Allow", "Deny")


def encoded(document: str) -> str:
    """As IAM gives documents back: percent-encoded (RFC 3986)."""
    return quote(document, safe="-_.~")


def check_size(document: str, limit: int, what: str) -> None:
    """Refuse a document of more than `limit` characters that are no white space."""
    if len("".join(document.split())) > limit:
        raise LimitExceededError(f"Cannot exceed quota for {what}: {limit}")


def check_identity_policy(document: str) -> None:
    """Refuse what is no identity policy: bad JSON, no statements, statements without action or resource."""
    for statement in _statements(document):
        if "Principal" in statement or "NotPrincipal" in statement:
            raise MalformedPolicyDocumentError("Policy document should not specify a principal.")
        if ("Action" in statement) == ("NotAction" in statement):
            raise MalformedPolicyDocumentError("Policy statement must contain actions.")
        if ("Resource" in statement) == ("NotResource" in statement):
            raise MalformedPolicyDocumentError("Policy statement must contain resources.")


def check_trust_policy(document: str) -> None:
    """Refuse what is no trust policy: it names who may assume the role, and no resource."""
    for statement in _statements(document):
        if "Resource" in statement or "NotResource" in statement:
            raise MalformedPolicyDocumentError("Has prohibited field Resource")
        if ("Action" in statement) == ("NotAction" in statement):
            raise MalformedPolicyDocumentError("Policy statement must contain actions.")
        if "Principal" not in statement and "NotPrincipal" not in statement:
            raise MalformedPolicyDocumentError("AssumeRole policy must contain principals.")


def _statements(document: str) -> list[dict[str, Any]]:
    try:
        policy = msgspec.json.decode(document)
    except (msgspec.DecodeError, RecursionError) as error:
        raise MalformedPolicyDocumentError("This policy contains invalid Json") from error
    if not isinstance(policy, dict):
        raise MalformedPolicyDocumentError("Syntax errors in policy.")
    if policy.get("Version", _VERSIONS[1]) not in _VERSIONS:
        raise MalformedPolicyDocumentError("The policy must contain a valid version string.")
    statements = policy.get("Statement")
    if isinstance(statements, dict):
        statements = [statements]
    if not isinstance(statements, list) or not statements:
        raise MalformedPolicyDocumentError("Syntax errors in policy.")
    for statement in statements:
        if not isinstance(statement, dict) or statement.get("Effect") not in _EFFECTS:
            raise MalformedPolicyDocumentError("Syntax errors in policy.")
    return statements
