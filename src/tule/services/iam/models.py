"""What IAM keeps."""

from typing import Final, Literal

import msgspec

MAX_POLICY_VERSIONS: Final = 5
"""Versions of one managed policy (IAM quotas, "Versions per managed policy")."""
MAX_ATTACHED: Final = 10
"""Managed policies attached to one identity (IAM quotas, default)."""
MAX_ACCESS_KEYS: Final = 2
"""Access keys of one user (IAM quotas)."""
MAX_TAGS: Final = 50
"""Tags of one identity (IAM quotas)."""
MAX_INLINE_CHARACTERS: Final = {"user": 2_048, "role": 10_240}
"""All inline policies of one identity together, white space not counted (IAM quotas)."""
MAX_POLICY_CHARACTERS: Final = 6_144
"""One managed policy, white space not counted (IAM quotas)."""

Kind = Literal["user", "role"]


class Identity(msgspec.Struct, frozen=True):
    """A user or a role: the parts that both have, and the trust policy that makes a role."""

    kind: Kind
    name: str
    path: str
    id: str
    arn: str
    created_ms: int
    tags: dict[str, str] = {}
    inline: dict[str, str] = {}
    """Policy documents by policy name."""
    attached: tuple[str, ...] = ()
    """ARNs of managed policies, in the order they were attached."""
    boundary: str = ""
    trust_policy: str = ""
    description: str = ""
    max_session_s: int = 3600


class PolicyVersion(msgspec.Struct, frozen=True):
    """One immutable text of a managed policy."""

    number: int
    document: str
    created_ms: int

    @property
    def id(self) -> str:
        return f"v{self.number}"


class Policy(msgspec.Struct, frozen=True):
    """A customer-managed policy."""

    name: str
    path: str
    id: str
    arn: str
    created_ms: int
    updated_ms: int
    versions: tuple[PolicyVersion, ...]
    default: str
    last_number: int
    description: str = ""
    tags: dict[str, str] = {}

    def version(self, version_id: str) -> PolicyVersion | None:
        return next((version for version in self.versions if version.id == version_id), None)


class StoredKey(msgspec.Struct, frozen=True):
    """A user's access key."""

    id: str
    secret: str
    account: str
    user: str
    created_ms: int
    active: bool = True
