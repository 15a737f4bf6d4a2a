"""STS's handlers."""

from typing import Any, Final

from tule.kernel.arns import Arn
from tule.kernel.errors import AwsError
from tule.services.declaration import Context, Environment
from tule.services.sts import state
from tule.store.transaction import ReadTxn, Txn

DEFAULT_SESSION_S: Final = 3_600
"""AssumeRole's DurationSeconds where the caller gives none (API reference)."""


class AccessDeniedError(AwsError):
    code = "AccessDenied"
    status = 403


class StsValidationError(AwsError):
    code = "ValidationError"


def get_caller_identity(txn: ReadTxn, _request: dict[str, Any]) -> dict[str, Any]:
    context = txn.context
    return {"UserId": context.principal.user_id, "Account": context.account, "Arn": context.principal.arn}


def get_access_key_info(txn: ReadTxn, request: dict[str, Any]) -> dict[str, Any]:
    """The account a key belongs to: a 12-digit key is its account, as everywhere in Tule."""
    key_id = request["AccessKeyId"]
    return {"Account": key_id if len(key_id) == 12 and key_id.isdigit() else txn.context.account}


async def assume_role(ctx: Context, request: dict[str, Any]) -> dict[str, Any]:
    """Credentials of a role that exists. Its trust policy is stored but not evaluated yet (see README)."""
    for member in ("Policy", "PolicyArns", "Tags", "TransitiveTagKeys", "SerialNumber", "TokenCode"):
        if request.get(member):
            raise AwsError(
                f"Tule does not honour {member} in AssumeRole yet. Leave it out.", code="NotImplemented", status=501
            )
    role_arn, session_name = request["RoleArn"], request["RoleSessionName"]
    parsed = Arn.parse(role_arn)
    if parsed is None or parsed.service != "iam" or not parsed.resource.startswith("role/"):
        raise StsValidationError(f"{role_arn} is invalid")
    role = await _role(ctx, parsed, role_arn)
    duration_s = request.get("DurationSeconds") or DEFAULT_SESSION_S
    if duration_s > role["MaxSessionDuration"]:
        raise StsValidationError(
            "The requested DurationSeconds exceeds the MaxSessionDuration set for this role.",
        )
    arn = f"arn:{parsed.partition}:sts::{parsed.account}:assumed-role/{role['RoleName']}/{session_name}"
    user_id = f"{role['RoleId']}:{session_name}"
    now_ms = ctx.env.machine.wall_ms()

    def mint(txn: Txn) -> tuple[state.Session, list[str]]:
        gone = state.sweep(txn, now_ms)
        return state.mint_session(txn, parsed.account, arn, user_id, now_ms + duration_s * 1000), gone

    session, gone = await ctx.store.transact(state.SHARD, mint, ctx.request)
    for key_id in gone:
        ctx.env.ports.credentials.forget(key_id)
    ctx.env.ports.credentials.remember(state.signing_key(session))
    return {
        "Credentials": {
            "AccessKeyId": session.access_key_id,
            "SecretAccessKey": session.secret,
            "SessionToken": session.token,
            "Expiration": session.expires_ms / 1000,
        },
        "AssumedRoleUser": {"AssumedRoleId": user_id, "Arn": arn},
    }


async def _role(ctx: Context, arn: Arn, text: str) -> dict[str, Any]:
    denied = AccessDeniedError(
        f"User: {ctx.request.principal.arn} is not authorized to perform: sts:AssumeRole on resource: {text}",
    )
    if arn.account != ctx.request.account:
        # Without trust policies nobody can say that another account lets this caller in.
        raise denied
    try:
        role: dict[str, Any] = (await ctx.aws.iam.get_role(RoleName=arn.resource.rpartition("/")[2]))["Role"]
    except AwsError as error:
        if error.error_code != "NoSuchEntityException":
            raise
        raise denied from error
    return role


async def restore(env: Environment) -> None:
    """Make the sessions that have not expired known again after a start."""
    now_ms = env.machine.wall_ms()
    context = env.background("", "")
    for session in await env.store.read(state.SHARD, lambda txn: state.live(txn, now_ms), context):
        env.ports.credentials.remember(state.signing_key(session))
