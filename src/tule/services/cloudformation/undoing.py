"""The phases that take things away: rolling an update back, cleaning up after one, tearing a stack down."""

from msgspec.structs import replace

from tule.kernel.errors import AwsError
from tule.services.cloudformation import exports, history, state
from tule.services.cloudformation.applying import living
from tule.services.cloudformation.engine import Driver, StepError, request_for
from tule.services.cloudformation.models import Before, Leftover, Operation, Stack, StackResource
from tule.services.cloudformation.parallel import in_parallel, reversed_needs
from tule.services.cloudformation.types import get
from tule.services.cloudformation.values import imported_names
from tule.store.transaction import Txn


async def roll_back(driver: Driver, stack: Stack, operation: Operation) -> None:
    """Put every resource that the update touched back to what it was."""
    records = await driver.read(lambda txn: living(txn, driver.uuid))
    touched = {name: record for name, record in records.items() if record.operation == operation.id and record.change}
    needs = {name: set(record.before.needs) if record.before else set() for name, record in touched.items()}

    async def restore(name: str) -> bool:
        return await _restore(driver, stack, operation, touched[name])

    failed = await in_parallel(needs, restore, go_on=True)

    def turn(txn: Txn, now: Stack) -> None:
        if failed:
            reason = f"The following resource(s) failed to update: [{', '.join(failed)}]. "
            history.finish(txn, now, "UPDATE_ROLLBACK_FAILED", reason)
            return
        assert operation.previous is not None, "an update keeps what was before"
        turned = replace(operation, phase="clean_up", rolled_back=True)
        if operation.previous.revision != now.definition.revision:
            state.drop_template(txn, now.uuid, now.definition.revision)
        back = replace(now, definition=operation.previous)
        history.set_status(txn, back, "UPDATE_ROLLBACK_COMPLETE_CLEANUP_IN_PROGRESS", "", turned)

    await driver.transact_as(operation, turn)


async def _restore(driver: Driver, stack: Stack, operation: Operation, record: StackResource) -> bool:
    before = record.before
    if before is not None and record.change == "keep":
        same = replace(_as_before(record, before), status=record.status)
        await driver.transact_as(operation, lambda txn, now: state.save_resource(txn, now.uuid, same))
        return True
    if before is None or record.change != "update":
        await driver.transact_as(operation, lambda txn, now: _take_back(txn, now, record))
        return True
    began = replace(record, status="UPDATE_IN_PROGRESS", reason="")
    await driver.transact_as(operation, lambda txn, now: history.record(txn, now, began))
    assert operation.previous is not None, "an update keeps what was before"
    update = get(record.type).update
    assert update is not None, "only updates in place are undone in place"
    request = request_for(stack, operation.previous, record.logical_id, before.properties, f"{record.token}-back")
    context = driver.context(operation, f"ROLLBACK {record.logical_id}")
    attempted = record.attempted or record.properties
    try:
        made = await driver.attempt(lambda: update(context, request, attempted, record.physical_id))
    except StepError as error:
        failed = replace(record, status="UPDATE_FAILED", reason=str(error))
        await driver.transact_as(operation, lambda txn, now: history.record(txn, now, failed))
        return False
    restored = replace(_as_before(record, before), attributes=dict(made.attributes), physical_id=made.physical_id)
    await driver.transact_as(operation, lambda txn, now: history.record(txn, now, restored))
    return True


def _as_before(record: StackResource, before: Before) -> StackResource:
    return replace(
        record,
        status="UPDATE_COMPLETE",
        reason="",
        physical_id=before.physical_id,
        properties=before.properties,
        attributes=before.attributes,
        metadata=before.metadata,
        deletion_policy=before.deletion_policy,
        update_replace_policy=before.update_replace_policy,
        needs=before.needs,
        token=before.token,
        change="",
        attempted={},
        before=None,
    )


def _take_back(txn: Txn, stack: Stack, record: StackResource) -> None:
    """Undo an addition or a replacement: what was made is left over, what was there is the resource again."""
    before = record.before
    made = record.physical_id and (before is None or record.physical_id != before.physical_id)
    if made and (before is not None or record.deletion_policy != "Retain"):
        leftover = Leftover(
            logical_id=record.logical_id,
            type=record.type,
            physical_id=record.physical_id,
            properties=record.properties,
            needs=record.needs,
            token=record.token,
        )
        state.save_leftover(txn, stack.uuid, leftover)
    elif made:
        history.note(txn, stack, record, "DELETE_SKIPPED")
    if before is None:
        state.drop_resource(txn, stack.uuid, record.logical_id)
        return
    state.drop_leftover(txn, stack.uuid, record.logical_id, before.physical_id)
    history.record(txn, stack, _as_before(record, before))


async def clean_up(driver: Driver, stack: Stack, operation: Operation) -> None:
    """Delete what an update has left over. A failure is told and doesn't undo the update (as on AWS)."""
    left = {
        str(number): entry
        for number, entry in (await driver.read(lambda txn: state.leftovers(txn, driver.uuid))).items()
    }
    by_name: dict[str, set[str]] = {}
    for key, entry in left.items():
        by_name.setdefault(entry.logical_id, set()).add(key)
    needs = {
        key: {other for name in entry.needs for other in by_name.get(name, ()) if other != key}
        for key, entry in left.items()
    }

    async def remove(key: str) -> bool:
        await _remove_leftover(driver, stack, operation, left[key])
        return True

    await in_parallel(_without_circles(reversed_needs(needs)), remove)
    compiled = await driver.compiled(stack, stack.definition)
    names = imported_names(compiled)
    await driver.exports(lambda txn: exports.replace_imports(txn, stack.arn, names))
    final = "UPDATE_ROLLBACK_COMPLETE" if operation.rolled_back else "UPDATE_COMPLETE"
    await driver.transact_as(operation, lambda txn, now: _updated(txn, now, operation, final))


def _without_circles(needs: dict[str, set[str]]) -> dict[str, set[str]]:
    """Leftovers of two templates may need one another in a circle; then their order is the given one."""
    from tule.languages.cloudformation.graph import circle

    return {key: set() for key in needs} if circle(needs) else needs


def _updated(txn: Txn, stack: Stack, operation: Operation, status: str) -> None:
    previous = operation.previous
    if previous is not None and previous.revision != stack.definition.revision:
        state.drop_template(txn, stack.uuid, previous.revision)
    for name, record in state.resources(txn, stack.uuid).items():
        if record.before is not None or record.change:
            settled = replace(record, before=None, change="", attempted={})
            state.save_resource(txn, stack.uuid, replace(settled, logical_id=name))
    history.finish(txn, replace(stack, updated_ms=txn.now), status)


async def _remove_leftover(driver: Driver, stack: Stack, operation: Operation, entry: Leftover) -> None:
    record = StackResource(
        logical_id=entry.logical_id,
        type=entry.type,
        status="DELETE_IN_PROGRESS",
        updated_ms=0,
        operation=operation.id,
        physical_id=entry.physical_id,
        properties=entry.properties,
    )
    await driver.transact_as(operation, lambda txn, now: history.note(txn, now, record))
    request = request_for(stack, stack.definition, entry.logical_id, entry.properties, entry.token)
    context = driver.context(operation, f"DELETE {entry.logical_id}")
    status, reason = "DELETE_COMPLETE", ""
    try:
        await driver.attempt(lambda: get(entry.type).delete(context, request, entry.physical_id))
    except StepError as error:
        status, reason = "DELETE_FAILED", str(error)

    def write(txn: Txn, now: Stack) -> None:
        state.drop_leftover(txn, now.uuid, entry.logical_id, entry.physical_id)
        history.note(txn, now, record, status, reason)

    await driver.transact_as(operation, write)


async def tear_down(driver: Driver, stack: Stack, operation: Operation) -> None:
    """Delete all resources, those that need others first; after a failed creation or at a user's wish."""
    try:
        await driver.exports(lambda txn: exports.replace_exports(txn, stack.arn, {}))
    except AwsError as error:
        message = error.message
        await driver.transact_as(operation, lambda txn, now: history.finish(txn, now, "DELETE_FAILED", message))
        return
    records = await driver.read(lambda txn: living(txn, driver.uuid))
    for entry in (await driver.read(lambda txn: state.leftovers(txn, driver.uuid))).values():
        await _remove_leftover(driver, stack, operation, entry)
    needs = {name: set(record.needs) & records.keys() for name, record in records.items()}

    async def remove(name: str) -> bool:
        return await _remove(driver, stack, operation, records[name])

    failed = await in_parallel(_without_circles(reversed_needs(needs)), remove, go_on=True)
    if not failed:
        await driver.exports(lambda txn: exports.replace_imports(txn, stack.arn, []))
    await driver.transact_as(operation, lambda txn, now: _torn_down(txn, now, operation, failed))


def _torn_down(txn: Txn, stack: Stack, operation: Operation, failed: list[str]) -> None:
    deleting = operation.kind == "DELETE" or operation.on_failure == "DELETE"
    word = "DELETE" if deleting else "ROLLBACK"
    if failed:
        reason = f"The following resource(s) failed to delete: [{', '.join(failed)}]. "
        history.finish(txn, stack, f"{word}_FAILED", reason)
    else:
        history.finish(txn, stack, f"{word}_COMPLETE")


async def _remove(driver: Driver, stack: Stack, operation: Operation, record: StackResource) -> bool:
    retained = record.deletion_policy == "Retain" or (
        record.deletion_policy == "RetainExceptOnCreate" and operation.kind == "DELETE"
    )
    if operation.kind == "CREATE" and operation.retain_except_on_create:
        retained = False
    if retained or record.logical_id in operation.retain:
        await driver.transact_as(operation, lambda txn, now: _skip(txn, now, record))
        return True
    record = await _adopt(driver, stack, operation, record)
    request = request_for(stack, stack.definition, record.logical_id, record.properties, record.token)
    context = driver.context(operation, f"DELETE {record.logical_id}")
    if record.physical_id:
        going = replace(record, status="DELETE_IN_PROGRESS", reason="", operation=operation.id)
        await driver.transact_as(operation, lambda txn, now: history.record(txn, now, going))
        try:
            await driver.attempt(lambda: get(record.type).delete(context, request, record.physical_id))
        except StepError as error:
            failed = replace(record, status="DELETE_FAILED", reason=str(error))
            await driver.transact_as(operation, lambda txn, now: history.record(txn, now, failed))
            return False
    gone = replace(record, status="DELETE_COMPLETE", reason="", before=None, attempted={}, change="")
    await driver.transact_as(operation, lambda txn, now: history.record(txn, now, gone))
    return True


def _skip(txn: Txn, stack: Stack, record: StackResource) -> None:
    history.note(txn, stack, record, "DELETE_SKIPPED")
    state.drop_resource(txn, stack.uuid, record.logical_id)


async def _adopt(driver: Driver, stack: Stack, operation: Operation, record: StackResource) -> StackResource:
    """Find out what came of a creation that a crash interrupted: its token leads to what it made, if anything."""
    if record.status != "CREATE_IN_PROGRESS" or record.physical_id:
        return record
    request = request_for(stack, stack.definition, record.logical_id, record.attempted, record.token)
    context = driver.context(operation, f"CREATE {record.logical_id}")
    try:
        made = await driver.attempt(lambda: get(record.type).create(context, request))
    except StepError:
        return record
    return replace(record, physical_id=made.physical_id, properties=record.attempted)
