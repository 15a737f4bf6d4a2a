"""The first phase of creating and updating: bring every resource of the template to what it says."""

from dataclasses import dataclass
from typing import Any, Literal

from msgspec.structs import replace

from tule.kernel.errors import AwsError
from tule.services.cloudformation import exports, history, state
from tule.services.cloudformation.engine import Driver, StepError, request_for, token_for
from tule.services.cloudformation.models import Before, Leftover, Operation, OutputValue, Stack, StackResource
from tule.services.cloudformation.parallel import in_parallel
from tule.services.cloudformation.planning import takes_tags
from tule.services.cloudformation.submission import Compiled
from tule.services.cloudformation.types import get
from tule.services.cloudformation.values import KnownResources, evaluator, imported_names, outputs
from tule.services.resources import ResourceState
from tule.store.transaction import ReadTxn, Txn

REPLACING = "Requested update requires the creation of a new physical resource; hence creating one."


async def apply(driver: Driver, stack: Stack, operation: Operation) -> None:
    """Settle every resource, then outputs and exports; what fails leads to a rollback or a failed stack."""
    try:
        compiled = await driver.compiled(stack, stack.definition)
        names = imported_names(compiled)
        known = await driver.exports(lambda txn: _import(txn, stack.arn, names))
    except AwsError as error:
        await _fail(driver, operation, error.message)
        return
    records = await driver.read(lambda txn: living(txn, driver.uuid))
    work = _Applying(driver, stack, operation, compiled, known, records)
    chosen = compiled.needs
    if operation.failed:  # going on after a crash: only learn what came of what had been begun
        begun = {name for name, record in records.items() if _in_hand(record, operation)}
        chosen = {name: needs for name, needs in compiled.needs.items() if name in begun}
    failed = await in_parallel(chosen, work.settle)
    if failed or operation.failed:
        await _fail(driver, operation, "")
        return
    try:
        values = outputs(compiled, KnownResources(work.records, known))
        exported = {output.export_name: output.value for output in values if output.export_name}
        await driver.exports(lambda txn: exports.replace_exports(txn, stack.arn, exported))
    except AwsError as error:
        await _fail(driver, operation, error.message)
        return
    await driver.transact_as(operation, lambda txn, now: _complete(txn, now, operation, compiled, values))


def living(txn: ReadTxn, uuid: str) -> dict[str, StackResource]:
    """The resources that have not been deleted."""
    found = state.resources(txn, uuid).items()
    return {name: record for name, record in found if record.status != "DELETE_COMPLETE"}


def _import(txn: Txn, stack_id: str, names: list[str]) -> dict[str, exports.Export]:
    if names:
        exports.replace_imports(txn, stack_id, list(dict.fromkeys([*exports.imported_by(txn, stack_id), *names])))
    return exports.all_exports(txn)


def _in_hand(record: StackResource, operation: Operation) -> bool:
    return record.operation == operation.id and record.status.endswith("_IN_PROGRESS")


@dataclass(slots=True)
class _Applying:
    """What the steps of one run share."""

    driver: Driver
    stack: Stack
    operation: Operation
    compiled: Compiled
    exports: dict[str, exports.Export]
    records: dict[str, StackResource]

    async def settle(self, logical_id: str) -> bool:
        """Bring one resource to what the template says; tells whether it went well."""
        record = self.records.get(logical_id)
        decided = record is not None and record.operation == self.operation.id and record.change != ""
        if record is not None and decided and record.status.endswith("_COMPLETE"):
            return True
        resource = self.compiled.template.resources[logical_id]
        try:
            properties = evaluator(self.compiled, KnownResources(self.records, self.exports)).value(resource.properties)
        except AwsError as error:
            await self._failed(logical_id, record, error.message)
            return False
        before = self.operation.previous
        retagged = before is not None and before.tags != self.stack.definition.tags
        chosen = _choose(record, resource.type, properties, retagged=retagged and takes_tags(resource.type))
        change = record.change if record is not None and decided else chosen
        wanted = self._wanted(logical_id, record, change, properties)
        if change == "keep":
            if wanted != record:
                await self.driver.transact(lambda txn: state.save_resource(txn, self.driver.uuid, wanted))
            self.records[logical_id] = wanted
            return True
        begun = await self.driver.transact_as(self.operation, lambda txn, stack: self._begin(txn, stack, wanted))
        try:
            made = await self._perform(begun)
        except StepError as error:
            await self._failed(logical_id, begun, str(error))
            return False
        self.records[logical_id] = await self.driver.transact(lambda txn: self._end(txn, begun, made))
        return True

    def _wanted(
        self, logical_id: str, record: StackResource | None, change: str, properties: dict[str, Any]
    ) -> StackResource:
        """The record with which a change begins."""
        resource = self.compiled.template.resources[logical_id]
        needs = sorted(self.compiled.needs[logical_id])
        if record is None or change == "add":
            record = StackResource(
                logical_id=logical_id, type=resource.type, status="CREATE_IN_PROGRESS", updated_ms=0, operation=""
            )
            before = None
        else:
            before = record.before if record.operation == self.operation.id and record.before else _before(record)
        changed = replace(
            record,
            metadata=resource.metadata,
            deletion_policy=resource.deletion_policy,
            update_replace_policy=resource.update_replace_policy,
            needs=needs,
        )
        if change == "keep":
            if changed == record:
                return record
            return replace(changed, operation=self.operation.id, change="keep", before=before)
        return replace(
            changed,
            status="CREATE_IN_PROGRESS" if change == "add" else "UPDATE_IN_PROGRESS",
            reason=REPLACING if change == "replace" else "",
            operation=self.operation.id,
            token=token_for(self.operation, logical_id),
            change=change,
            attempted=properties,
            before=before,
        )

    def _begin(self, txn: Txn, stack: Stack, wanted: StackResource) -> StackResource:
        known = state.load_resource(txn, stack.uuid, wanted.logical_id)
        if known is not None and _in_hand(known, self.operation):
            return wanted  # gone on with after a crash: the event is there
        return history.record(txn, stack, wanted)

    async def _perform(self, record: StackResource) -> ResourceState:
        type_ = get(record.type)
        context = self.driver.context(self.operation, f"{self.operation.kind} {record.logical_id}")
        request = request_for(self.stack, self.stack.definition, record.logical_id, record.attempted, record.token)
        update = type_.update
        if record.change == "update" and update is not None:
            before = record.before.properties if record.before else record.properties
            return await self.driver.attempt(lambda: update(context, request, before, record.physical_id))
        made = await self.driver.attempt(lambda: type_.create(context, request))
        if record.change == "replace" and made.physical_id == record.physical_id:
            raise StepError(
                "CloudFormation cannot update a stack when a custom-named resource requires replacing. Rename "
                f"{record.physical_id} and update the stack again."
            )
        return made

    def _end(self, txn: Txn, begun: StackResource, made: ResourceState) -> StackResource:
        stack = state.load_stack(txn, self.driver.uuid)
        assert stack is not None, "a stack outlives its operation"
        if begun.change == "replace" and begun.before and begun.update_replace_policy != "Retain":
            state.save_leftover(txn, stack.uuid, _leftover(begun.logical_id, begun.type, begun.before))
        done = replace(
            begun,
            status="CREATE_COMPLETE" if begun.change == "add" else "UPDATE_COMPLETE",
            reason="",
            physical_id=made.physical_id,
            attributes=dict(made.attributes),
            properties=begun.attempted,
            attempted={},
        )
        if begun.change == "add":
            history.note(txn, stack, done, "CREATE_IN_PROGRESS", self._initiated(done))
        return history.record(txn, stack, done)

    def _initiated(self, record: StackResource) -> str:
        ignored = sorted(get(record.type).ignored & record.properties.keys())
        suffix = f"; without effect on Tule: {', '.join(ignored)}" if ignored else ""
        return f"Resource creation Initiated{suffix}"

    async def _failed(self, logical_id: str, record: StackResource | None, reason: str) -> None:
        """Write that a resource failed, and remember it in the operation."""
        resource = self.compiled.template.resources[logical_id]
        base = record or StackResource(
            logical_id=logical_id,
            type=resource.type,
            status="",
            updated_ms=0,
            operation=self.operation.id,
            change="add",
        )
        if base.operation != self.operation.id or not base.change:  # it failed before anything was done to it
            base = replace(base, operation=self.operation.id, change="replace", before=_before(base))
        status = "CREATE_FAILED" if base.change == "add" else "UPDATE_FAILED"

        def write(txn: Txn) -> StackResource:
            stack = state.load_stack(txn, self.driver.uuid)
            assert stack is not None, "a stack outlives its operation"
            now = stack.operation
            if now is not None and now.id == self.operation.id:
                stack = replace(stack, operation=replace(now, failed=[*now.failed, logical_id]))
                state.save_stack(txn, stack)
            return history.record(txn, stack, replace(base, status=status, reason=reason))

        self.records[logical_id] = await self.driver.transact(write)


def _choose(
    record: StackResource | None, type_name: str, properties: dict[str, Any], *, retagged: bool
) -> Literal["add", "update", "replace", "keep"]:
    if record is None or not record.physical_id:
        return "add"
    changed = {
        name for name in {*properties, *record.properties} if properties.get(name) != record.properties.get(name)
    }
    if not changed:
        again = retagged or (record.status == "UPDATE_FAILED" and get(type_name).update)
        return "update" if again else "keep"
    type_ = get(type_name)
    return "replace" if type_.update is None or changed & type_.replace_on else "update"


def _before(record: StackResource) -> Before:
    return Before(
        physical_id=record.physical_id,
        properties=record.properties,
        attributes=record.attributes,
        metadata=record.metadata,
        deletion_policy=record.deletion_policy,
        update_replace_policy=record.update_replace_policy,
        needs=record.needs,
        token=record.token,
    )


def _leftover(logical_id: str, type_name: str, before: Before) -> Leftover:
    return Leftover(
        logical_id=logical_id,
        type=type_name,
        physical_id=before.physical_id,
        properties=before.properties,
        needs=before.needs,
        token=before.token,
    )


async def _fail(driver: Driver, operation: Operation, reason: str) -> None:
    await driver.transact_as(operation, lambda txn, stack: _turn_back(txn, stack, reason))


def _turn_back(txn: Txn, stack: Stack, reason: str) -> None:
    """What follows a failure: nothing, a deletion or a rollback."""
    operation = stack.operation
    assert operation is not None, "transact_as has checked it"
    verb = "create" if operation.kind == "CREATE" else "update"
    said = reason or f"The following resource(s) failed to {verb}: [{', '.join(operation.failed)}]. "
    if operation.on_failure == "DO_NOTHING":
        history.finish(txn, stack, f"{operation.kind}_FAILED", said)
    elif operation.kind == "UPDATE":
        history.set_status(txn, stack, "UPDATE_ROLLBACK_IN_PROGRESS", said, replace(operation, phase="roll_back"))
    elif operation.on_failure == "DELETE":
        turned = replace(operation, phase="tear_down")
        history.set_status(txn, stack, "DELETE_IN_PROGRESS", f"{said}Delete requested by user.", turned)
    else:
        turned = replace(operation, phase="tear_down")
        history.set_status(txn, stack, "ROLLBACK_IN_PROGRESS", f"{said}Rollback requested by user.", turned)


def _complete(txn: Txn, stack: Stack, operation: Operation, compiled: Compiled, values: list[OutputValue]) -> None:
    """All resources are as the template says."""
    stack = replace(stack, outputs=values)
    if operation.kind == "CREATE":
        history.finish(txn, stack, "CREATE_COMPLETE")
        return
    for name, record in living(txn, stack.uuid).items():
        if name in compiled.needs:
            continue
        state.drop_resource(txn, stack.uuid, name)
        if record.deletion_policy != "Delete":
            history.note(txn, stack, record, "DELETE_SKIPPED")
        elif record.physical_id:
            state.save_leftover(txn, stack.uuid, _leftover(name, record.type, _before(record)))
    turned = replace(operation, phase="clean_up")
    history.set_status(txn, stack, "UPDATE_COMPLETE_CLEANUP_IN_PROGRESS", "", turned)
