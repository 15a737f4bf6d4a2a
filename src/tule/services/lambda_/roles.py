"""Credentials of execution roles: what an instance signs with, so that its calls are its role's."""

from base64 import b64encode
from dataclasses import dataclass
from hashlib import sha256

from tule.kernel.context import Principal
from tule.kernel.ports import AccessKey
from tule.kernel.randomness import RandomSource
from tule.services.declaration import Environment
from tule.services.lambda_ import limits
from tule.services.lambda_.models import Function

RENEW_BEFORE_S = 2 * 3600
"""A session with less than this left is not handed to a new instance."""

_ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"


def _key_id(random: RandomSource) -> str:
    return "ASIA" + "".join(_ALPHABET[byte & 31] for byte in random.token(16))


@dataclass(frozen=True, slots=True)
class _Session:
    key: AccessKey
    role: str


class RoleSessions:
    """One session of the execution role per function, shared by its instances and renewed before it expires.

    Sessions are in memory: instances end with Tule, so nobody could use one afterwards.
    """

    def __init__(self, env: Environment) -> None:
        self._env = env
        self._sessions: dict[str, _Session] = {}

    def of(self, function: Function) -> AccessKey:
        """The session for an instance that starts now."""
        session = self._sessions.get(function.arn)
        now_ms = self._env.machine.wall_ms()
        if session is not None and session.role == function.role:
            expires_ms = session.key.expires_ms or 0
            if expires_ms - now_ms > RENEW_BEFORE_S * 1000:
                return session.key
        key = self._mint(function, now_ms)
        self._sessions[function.arn] = _Session(key, function.role)
        self._env.ports.credentials.remember(key)
        return key

    def _mint(self, function: Function, now_ms: int) -> AccessKey:
        """A role of another account, which AWS refuses to pass, stands for the one of that name in the function's."""
        random = self._env.random
        account = function.account
        role_name = function.role.rpartition("/")[2]
        arn = f"arn:{function.partition}:sts::{account}:assumed-role/{role_name}/{function.name}"
        role_id = "AROA" + "".join(_ALPHABET[byte & 31] for byte in sha256(function.role.encode()).digest()[:16])
        key_id = _key_id(random)
        return AccessKey(
            access_key_id=key_id,
            secret=b64encode(random.token(30)).decode(),
            account=account,
            principal=Principal("role", arn, f"{role_id}:{function.name}", key_id, known=True),
            session_token=b64encode(random.token(96)).decode(),
            expires_ms=now_ms + limits.ROLE_SESSION_S * 1000,
        )

    def forget(self, function_arn: str) -> None:
        """The function is gone: its instances' calls are refused from now on."""
        session = self._sessions.pop(function_arn, None)
        if session is not None:
            self._env.ports.credentials.forget(session.key.access_key_id)
