"""Code signing configurations: what they say, where they are kept, and what they forbid.

Tule has no AWS Signer, so no package that it gets is signed: where a configuration enforces signatures nothing can be
deployed, which is what AWS does with packages that are not signed, and where it warns everything can.
"""

import re
from typing import Final

import msgspec

from tule.kernel.errors import AwsError
from tule.services.declaration import Context
from tule.services.lambda_.names import ResourceNotFoundError
from tule.services.lambda_.state import SERVICE
from tule.store.keys import pack, prefix_end
from tule.store.transaction import ReadTxn, ShardKey, Txn

ENFORCE: Final = "Enforce"
ID: Final = re.compile(r"csc-[a-z0-9]{17}")

_CONFIGS = pack("config")
_encode = msgspec.msgpack.Encoder().encode


class CodeSigning(msgspec.Struct, frozen=True, kw_only=True):
    """A code signing configuration: who may sign, and what becomes of what they did not sign."""

    id: str
    arn: str
    publishers: tuple[str, ...]
    policy: str
    """Warn or Enforce."""
    modified_ms: int
    description: str = ""


_config = msgspec.msgpack.Decoder(CodeSigning)


class CodeSigningConfigNotFoundError(AwsError):
    """A configuration that a function is to have, and that there is none of."""

    code = "CodeSigningConfigNotFoundException"
    status = 404

    def __init__(self, arn: str) -> None:
        super().__init__(
            "The code signing configuration cannot be found. "
            f"Check that the provided configuration is not deleted: {arn}.",
            members={"Type": "User"},
        )


class CodeVerificationFailedError(AwsError):
    """A package without a signature that is trusted, where one is enforced."""

    code = "CodeVerificationFailedException"

    def __init__(self) -> None:
        super().__init__(
            "Lambda cannot deploy the function. The function or layer might be signed using a signature that the "
            "client is not configured to accept. Check the provided signature for unsigned.",
            members={"Type": "User"},
        )


def shard(account: str, region: str) -> ShardKey:
    """All configurations of an account and region."""
    return ShardKey(SERVICE, account, region, "code-signing")


def id_in(arn: str) -> str:
    """The id at the end of an ARN."""
    return arn.rpartition(":")[2]


def read_config(txn: ReadTxn, config_id: str) -> CodeSigning | None:
    raw = txn.get(pack("config", config_id))
    return None if raw is None else _config.decode(raw)


def write_config(txn: Txn, config: CodeSigning) -> None:
    txn.put(pack("config", config.id), _encode(config))


def erase_config(txn: Txn, config_id: str) -> None:
    txn.delete(pack("config", config_id))


def all_configs(txn: ReadTxn) -> list[CodeSigning]:
    """By id."""
    return [_config.decode(value) for _, value in txn.scan(_CONFIGS, prefix_end(_CONFIGS), 100_000)]


def require_config(txn: ReadTxn, arn: str) -> CodeSigning:
    """The configuration, or AWS's 404."""
    config = read_config(txn, id_in(arn))
    if config is None:
        raise ResourceNotFoundError(f"The Lambda code signing configuration {arn} can not be found.")
    return config


async def attachable(ctx: Context, arn: str) -> CodeSigning:
    """The configuration that a function is to have."""
    place = shard(ctx.request.account, ctx.request.region)
    config = await ctx.store.read(place, lambda txn: read_config(txn, id_in(arn)), ctx.request)
    if config is None:
        raise CodeSigningConfigNotFoundError(arn)
    return config


async def check_signature(ctx: Context, arn: str) -> None:
    """Refuse to deploy a package for a function whose configuration enforces signatures."""
    if arn and (await attachable(ctx, arn)).policy == ENFORCE:
        raise CodeVerificationFailedError
