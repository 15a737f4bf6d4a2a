"""Access keys of users. Minted here, then known to every signature check."""

import base64
from typing import Any

import msgspec

from tule.kernel.context import Principal
from tule.kernel.ports import AccessKey
from tule.services.declaration import Context, Environment
from tule.services.iam import state
from tule.services.iam.errors import LimitExceededError, NoSuchEntityError
from tule.services.iam.models import MAX_ACCESS_KEYS, StoredKey
from tule.services.iam.views import key_view, page
from tule.store.transaction import ReadTxn, Txn


def _user_name(txn: ReadTxn, request: dict[str, Any]) -> str:
    """The named user, or the one who signed."""
    name = request.get("UserName") or txn.context.principal.arn.rpartition("/")[2]
    return state.identity(txn, "user", name).name


def signing_key(txn: ReadTxn, key: StoredKey) -> AccessKey:
    """What signature checks need of a stored key."""
    user = state.identity(txn, "user", key.user)
    principal = Principal("user", user.arn, user.id, key.id, known=True)
    return AccessKey(key.id, key.secret, key.account, principal)


async def create_access_key(ctx: Context, request: dict[str, Any]) -> dict[str, Any]:
    def mint(txn: Txn) -> tuple[StoredKey, AccessKey]:
        user = _user_name(txn, request)
        if len(state.keys(txn, txn.context.account, user)) >= MAX_ACCESS_KEYS:
            raise LimitExceededError(f"Cannot exceed quota for AccessKeysPerUser: {MAX_ACCESS_KEYS}")
        key_id = "AKIA" + base64.b32encode(txn.random(10)).decode()
        secret = base64.b64encode(txn.random(30)).decode()
        key = StoredKey(key_id, secret, txn.context.account, user, txn.now)
        state.save_key(txn, key)
        return key, signing_key(txn, key)

    key, known = await ctx.store.transact(state.SHARD, mint, ctx.request)
    ctx.env.ports.credentials.remember(known)
    return {"AccessKey": {**key_view(key), "SecretAccessKey": key.secret}}


async def update_access_key(ctx: Context, request: dict[str, Any]) -> dict[str, Any]:
    def change(txn: Txn) -> tuple[StoredKey, AccessKey]:
        key = _own_key(txn, request)
        changed = msgspec.structs.replace(key, active=request["Status"] == "Active")
        state.save_key(txn, changed)
        return changed, signing_key(txn, changed)

    key, known = await ctx.store.transact(state.SHARD, change, ctx.request)
    if key.active:
        ctx.env.ports.credentials.remember(known)
    else:
        ctx.env.ports.credentials.forget(key.id)
    return {}


async def delete_access_key(ctx: Context, request: dict[str, Any]) -> dict[str, Any]:
    def drop(txn: Txn) -> None:
        state.drop_key(txn, _own_key(txn, request).id)

    await ctx.store.transact(state.SHARD, drop, ctx.request)
    ctx.env.ports.credentials.forget(request["AccessKeyId"])
    return {}


def list_access_keys(txn: ReadTxn, request: dict[str, Any]) -> dict[str, Any]:
    user = _user_name(txn, request)
    return page(request, "AccessKeyMetadata", [key_view(key) for key in state.keys(txn, txn.context.account, user)])


def _own_key(txn: ReadTxn, request: dict[str, Any]) -> StoredKey:
    user, key = _user_name(txn, request), state.find_key(txn, request["AccessKeyId"])
    if key is None or (key.account, key.user) != (txn.context.account, user):
        raise NoSuchEntityError(f"The Access Key with id {request['AccessKeyId']} cannot be found.")
    return key


async def restore(env: Environment) -> None:
    """Make the stored keys known again after a start."""

    def load(txn: ReadTxn) -> list[StoredKey]:
        return [key for key in state.keys(txn) if key.active]

    root = env.background("", "")
    for key in await env.store.read(state.SHARD, load, root):
        context = env.background(key.account, "")

        def known(txn: ReadTxn, key: StoredKey = key) -> AccessKey:
            return signing_key(txn, key)

        env.ports.credentials.remember(await env.store.read(state.SHARD, known, context))
