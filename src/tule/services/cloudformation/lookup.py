"""Finding a stack by name or ARN, and reading what a handler needs of it."""

import re
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, TypeVar

from tule.kernel.arns import Arn
from tule.kernel.context import RequestContext
from tule.kernel.errors import OperationNotImplementedError
from tule.services.cloudformation import state
from tule.services.cloudformation.errors import ChangeSetNotFoundError, ValidationError
from tule.services.cloudformation.models import ChangeSet, Stack
from tule.services.declaration import Context
from tule.store.transaction import ReadTxn, ShardKey, Txn

T = TypeVar("T")

_NAME = re.compile(r"[a-zA-Z][-a-zA-Z0-9]*")
MAX_NAME_CHARACTERS = 128
"""CreateStack."""


class StackAddress(NamedTuple):
    """Where a stack lies; `uuid` is "" when only its name was given."""

    shard: ShardKey
    name: str
    uuid: str


def address(context: RequestContext, given: str) -> StackAddress:
    """The address of a stack's name or ARN."""
    name, uuid = given, ""
    arn = Arn.parse(given)
    if arn is not None and arn.resource.startswith("stack/"):
        _, name, uuid = [*arn.resource.split("/"), ""][:3]
    elif len(given) > MAX_NAME_CHARACTERS or not _NAME.fullmatch(given):
        raise ValidationError(
            f"1 validation error detected: Value '{given[:200]}' at 'stackName' failed to satisfy constraint: Member "
            "must satisfy regular expression pattern: [a-zA-Z][-a-zA-Z0-9]*|arn:[-a-zA-Z0-9:/._+]*"
        )
    return StackAddress(state.stack_shard(context.account, context.region, name), name, uuid)


def find(txn: ReadTxn, where: StackAddress) -> Stack | None:
    """The stack: by ARN also a deleted one, by name the living one."""
    uuid = where.uuid or state.current_uuid(txn)
    return state.load_stack(txn, uuid) if uuid else None


async def read(ctx: Context, where: StackAddress, work: Callable[[ReadTxn], T]) -> T:
    return await ctx.store.read(where.shard, work, ctx.request)


async def transact(ctx: Context, where: StackAddress, work: Callable[[Txn], T]) -> T:
    return await ctx.store.transact(where.shard, work, ctx.request)


async def change_set_address(ctx: Context, request: Mapping[str, Any]) -> tuple[StackAddress, str]:
    """Stack and name of a change set given by ARN, or by name with its stack."""
    given, stack = str(request["ChangeSetName"]), request.get("StackName")
    arn = Arn.parse(given)
    if arn is None:
        if not stack:
            raise ValidationError("StackName must be specified if ChangeSetName is not specified as an ARN.")
        return address(ctx.request, stack), given
    _, name, uuid = [*arn.resource.split("/"), "", ""][:3]
    found = await ctx.store.directory(
        state.SERVICE, ctx.request.account, ctx.request.region, "change set", prefix=uuid, limit=1
    )
    if not uuid or not found:
        raise ChangeSetNotFoundError(given)
    return address(ctx.request, found[0].value.decode()), name


def find_change_set(txn: ReadTxn, where: StackAddress, name: str, given: str) -> tuple[Stack, ChangeSet]:
    """A change set and its stack, or AWS's word for what is missing."""
    stack = find(txn, where)
    if stack is None:
        if given.startswith("arn:"):
            raise ChangeSetNotFoundError(given)
        raise ValidationError(f"Stack [{where.name}] does not exist")
    change_set = state.load_change_set(txn, stack.uuid, name)
    if change_set is None or (given.startswith("arn:") and change_set.arn != given):
        raise ChangeSetNotFoundError(given)
    return stack, change_set


def refuse_members(operation: str, request: Mapping[str, Any], *members: str) -> None:
    """Refuse by name members that Tule does not honour, unless they are empty."""
    for member in members:
        if request.get(member):
            raise OperationNotImplementedError("cloudformation", operation, f"It does not honour {member}.")
