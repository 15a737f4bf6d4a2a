"""What applications do with Powertools for AWS Lambda in Python."""

from aws_lambda_powertools import Logger, Metrics, Tracer
from aws_lambda_powertools.metrics import MetricUnit
from aws_lambda_powertools.utilities.batch import BatchProcessor, EventType, process_partial_response
from aws_lambda_powertools.utilities.idempotency import DynamoDBPersistenceLayer, IdempotencyConfig, idempotent

logger = Logger(service="orders")
metrics = Metrics(namespace="shop", service="orders")
tracer = Tracer(service="orders")
processor = BatchProcessor(event_type=EventType.SQS)
calls = []


@tracer.capture_method
def place(order):
    logger.info("placing", extra={"order": order["id"]})
    metrics.add_metric(name="Placed", unit=MetricUnit.Count, value=1)
    calls.append(order["id"])
    return {"placed": order["id"], "calls": len(calls)}


@idempotent(
    persistence_store=DynamoDBPersistenceLayer(table_name="idempotency"),
    config=IdempotencyConfig(event_key_jmespath="id"),
)
def once(event, context):
    return place(event)


def of_queue(record):
    order = record.json_body
    if order["id"] == "poison":
        raise ValueError("poison")
    return place(order)


@logger.inject_lambda_context
@tracer.capture_lambda_handler
@metrics.log_metrics(capture_cold_start_metric=True)
def handler(event, context):
    if "Records" in event:
        return process_partial_response(event, of_queue, processor, context)
    return once(event, context)
