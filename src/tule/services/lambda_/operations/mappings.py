"""Event source mappings of queues: create, get, list, update, delete."""

from typing import Any

from msgspec.structs import replace

from tule.kernel.arns import Arn
from tule.kernel.errors import AwsError, OperationNotImplementedError
from tule.services.declaration import Context
from tule.services.lambda_ import limits, state, views
from tule.services.lambda_.execution import execution
from tule.services.lambda_.models import Function, Mapping
from tule.services.lambda_.names import (
    InvalidParameterValueError,
    ResourceConflictError,
    ResourceNotFoundError,
    parse_name,
)
from tule.services.lambda_.qualifiers import read_qualified
from tule.services.lambda_.settings import check_tags
from tule.store.transaction import ReadTxn, Txn

Request = dict[str, Any]

REFUSED = {
    "FilterCriteria": "Event patterns are not implemented, so messages can't be filtered.",
    "KMSKeyArn": "Filter criteria are not encrypted.",
    "MetricsConfig": "Metrics of mappings are not implemented.",
    "LoggingConfig": "Logs of mappings are not implemented.",
    "ProvisionedPollerConfig": "Provisioned pollers are not implemented.",
}
"""Members that a queue's mapping may have on AWS and not on Tule."""

FOREIGN = (
    "DestinationConfig",
    "ParallelizationFactor",
    "BisectBatchOnFunctionError",
    "MaximumRetryAttempts",
    "MaximumRecordAgeInSeconds",
    "TumblingWindowInSeconds",
    "SourceAccessConfigurations",
)
"""Members that belong to other sources than queues."""


def _not_found() -> ResourceNotFoundError:
    return ResourceNotFoundError("The resource you requested does not exist.")


def _check_members(operation: str, request: Request) -> None:
    for member in FOREIGN:
        if request.get(member) not in (None, {}, []):
            raise InvalidParameterValueError(f"Unsupported {member} parameter for given event source mapping type.")
    for member, why in REFUSED.items():
        value = request.get(member)
        if value and value not in ({"Filters": []}, {"Metrics": []}):
            raise OperationNotImplementedError("lambda", operation, f"{member} was given. {why}")


def _source(request: Request) -> Arn:
    """The queue's ARN; other kinds of source are refused by name."""
    text = request.get("EventSourceArn") or ""
    arn = Arn.parse(text)
    if request.get("SelfManagedEventSource"):
        raise OperationNotImplementedError("lambda", "CreateEventSourceMapping", "Self-managed sources are not read.")
    if arn is None:
        raise InvalidParameterValueError("Unrecognized event source.")
    if arn.service != "sqs":
        known = {"kinesis", "dynamodb", "kafka", "mq", "rds"}
        if arn.service not in known:
            raise InvalidParameterValueError("Unrecognized event source.")
        raise OperationNotImplementedError(
            "lambda", "CreateEventSourceMapping", f"The source is {arn.service}: only SQS queues are read."
        )
    if request.get("StartingPosition"):
        raise InvalidParameterValueError(f"Unsupported starting position for arn type: {text}")
    return arn


def _check_batching(source: str, size: int, window_s: int) -> None:
    if source.endswith(".fifo"):
        if size > limits.QUEUE_BATCH_FIFO_MAX:
            raise InvalidParameterValueError("Batch size for FIFO queues must not exceed 10.")
        if window_s:
            raise InvalidParameterValueError("Batching window is not supported for FIFO queues")
    if size > limits.QUEUE_BATCH_WITHOUT_WINDOW and window_s < 1:
        raise InvalidParameterValueError(
            "Maximum batch window in seconds must be greater than 0 if maximum batch size is greater than 10"
        )


async def _check_queue(ctx: Context, arn: Arn, function: Function) -> None:
    """The queue exists, and hides a message for as long as the function may work on it."""
    if (arn.account, arn.region) != (ctx.request.account, ctx.request.region):
        raise InvalidParameterValueError(
            f"The queue {arn} belongs to another account or region, which Tule does not read from."
        )
    try:
        url = (await ctx.aws.sqs.get_queue_url(QueueName=arn.resource))["QueueUrl"]
        answer = await ctx.aws.sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["VisibilityTimeout"])
    except AwsError as error:
        raise InvalidParameterValueError(
            "Error occurred while ReceiveMessage. SQS Error Code: AWS.SimpleQueueService.NonExistentQueue. "
            f"SQS Error Message: {error.message}"
        ) from error
    visibility_s = int(answer["Attributes"]["VisibilityTimeout"])
    if visibility_s < function.timeout_s:
        raise InvalidParameterValueError(
            f"Queue visibility timeout: {visibility_s} seconds is less than "
            f"Function timeout: {function.timeout_s} seconds"
        )


async def _function(ctx: Context, text: str) -> tuple[Function, str]:
    """The function that a mapping names, and the ARN it is to be printed with."""
    name = parse_name(ctx.request, text)
    shard = state.function_shard(*name[:3])
    try:
        function = await ctx.store.read(shard, lambda txn: read_qualified(txn, ctx.request, name), ctx.request)
    except ResourceNotFoundError:
        raise InvalidParameterValueError("Function does not exist") from None
    return function, f"{function.arn}:{name.qualifier}" if name.qualifier else function.arn


async def create_event_source_mapping(ctx: Context, request: Request) -> dict[str, Any]:
    source = _source(request)
    _check_members("CreateEventSourceMapping", request)
    function, printed = await _function(ctx, request["FunctionName"])
    size = request.get("BatchSize") or 10
    window_s = request.get("MaximumBatchingWindowInSeconds") or 0
    _check_batching(str(source), size, window_s)
    tags = dict(request.get("Tags") or {})
    check_tags(tags)
    await _check_queue(ctx, source, function)
    enabled = request.get("Enabled") is not False
    mapping = Mapping(
        uuid=ctx.env.random.uuid(),
        account=ctx.request.account,
        region=ctx.request.region,
        partition=ctx.request.partition,
        source_arn=str(source),
        function_arn=printed,
        batch_size=size,
        window_s=window_s,
        enabled=enabled,
        state="Creating",
        modified_ms=ctx.env.clock.now(),
        report_failures="ReportBatchItemFailures" in (request.get("FunctionResponseTypes") or []),
        maximum_concurrency=(request.get("ScalingConfig") or {}).get("MaximumConcurrency"),
        tags=tags,
    )

    def create(txn: Txn) -> None:
        for other in state.all_mappings(txn):
            if (other.source_arn, other.function_arn) == (mapping.source_arn, mapping.function_arn):
                raise ResourceConflictError(
                    f'An event source mapping with SQS arn (" {source} ") and function (" {function.name} ") already '
                    f"exists. Please update or delete the existing mapping with UUID {other.uuid}"
                )
        state.write_mapping(txn, mapping)

    await execution(ctx.env).remember_place(mapping.account, mapping.region)
    await ctx.store.transact(state.mappings_shard(mapping.account, mapping.region), create, ctx.request)
    execution(ctx.env).pollers.changed(mapping)
    return views.mapping_configuration(mapping)


async def get_event_source_mapping(ctx: Context, request: Request) -> dict[str, Any]:
    def read(txn: ReadTxn) -> Mapping:
        mapping = state.read_mapping(txn, request["UUID"])
        if mapping is None:
            raise _not_found()
        return mapping

    shard = state.mappings_shard(ctx.request.account, ctx.request.region)
    return views.mapping_configuration(await ctx.store.read(shard, read, ctx.request))


async def list_event_source_mappings(ctx: Context, request: Request) -> dict[str, Any]:
    """By UUID; the marker is the last UUID of the page before."""
    source, text, marker = request.get("EventSourceArn"), request.get("FunctionName"), request.get("Marker") or ""
    function_arn = ""
    if text:
        name = parse_name(ctx.request, text)
        function_arn = ctx.request.arn("lambda", f"function:{name.name}")
        if name.qualifier:
            function_arn += f":{name.qualifier}"
    shard = state.mappings_shard(ctx.request.account, ctx.request.region)
    found = [
        mapping
        for mapping in await ctx.store.read(shard, state.all_mappings, ctx.request)
        if mapping.uuid > marker
        and (not source or mapping.source_arn == source)
        and (not function_arn or mapping.function_arn == function_arn)
    ]
    page = min(request.get("MaxItems") or 100, 100)
    result: dict[str, Any] = {"EventSourceMappings": [views.mapping_configuration(m) for m in found[:page]]}
    if len(found) > page:
        result["NextMarker"] = found[page - 1].uuid
    return result


async def update_event_source_mapping(ctx: Context, request: Request) -> dict[str, Any]:
    _check_members("UpdateEventSourceMapping", request)
    printed = ""
    if request.get("FunctionName"):
        _, printed = await _function(ctx, request["FunctionName"])
    now = ctx.env.clock.now()

    def update(txn: Txn) -> Mapping:
        mapping = state.read_mapping(txn, request["UUID"])
        if mapping is None:
            raise _not_found()
        if mapping.state == "Deleting":
            raise AwsError(
                "Cannot update the event source mapping because it is in use.",
                code="ResourceInUseException",
                members={"Type": "User"},
            )
        changed = _changed(mapping, request, printed, now)
        state.write_mapping(txn, changed)
        return changed

    shard = state.mappings_shard(ctx.request.account, ctx.request.region)
    mapping = await ctx.store.transact(shard, update, ctx.request)
    execution(ctx.env).pollers.changed(mapping)
    return views.mapping_configuration(mapping)


def _changed(mapping: Mapping, request: Request, function_arn: str, now: int) -> Mapping:
    size = request.get("BatchSize") or mapping.batch_size
    window_s = request.get("MaximumBatchingWindowInSeconds")
    window_s = mapping.window_s if window_s is None else window_s
    _check_batching(mapping.source_arn, size, window_s)
    enabled = mapping.enabled if request.get("Enabled") is None else bool(request["Enabled"])
    turned = enabled != mapping.enabled
    report, scaling = mapping.report_failures, mapping.maximum_concurrency
    if request.get("FunctionResponseTypes") is not None:
        report = "ReportBatchItemFailures" in request["FunctionResponseTypes"]
    if request.get("ScalingConfig") is not None:
        scaling = request["ScalingConfig"].get("MaximumConcurrency")
    return replace(
        mapping,
        function_arn=function_arn or mapping.function_arn,
        batch_size=size,
        window_s=window_s,
        enabled=enabled,
        state=("Enabling" if enabled else "Disabling") if turned else "Updating",
        modified_ms=now,
        report_failures=report,
        maximum_concurrency=scaling,
    )


async def delete_event_source_mapping(ctx: Context, request: Request) -> dict[str, Any]:
    now = ctx.env.clock.now()

    def mark(txn: Txn) -> Mapping:
        mapping = state.read_mapping(txn, request["UUID"])
        if mapping is None:
            raise _not_found()
        marked = replace(mapping, enabled=False, state="Deleting", modified_ms=now)
        state.write_mapping(txn, marked)
        return marked

    shard = state.mappings_shard(ctx.request.account, ctx.request.region)
    mapping = await ctx.store.transact(shard, mark, ctx.request)
    execution(ctx.env).pollers.changed(mapping)
    return views.mapping_configuration(mapping)
