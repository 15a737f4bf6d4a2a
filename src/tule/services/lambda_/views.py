"""How functions, policies and mappings look in answers."""

from datetime import UTC, datetime
from typing import Any

from tule.services.lambda_.models import LATEST, Function, Logging, Mapping


def last_modified(instant_ms: int) -> str:
    """Lambda's own form of a time: 2026-11-21T12:00:00.123+0000."""
    moment = datetime.fromtimestamp(instant_ms / 1000, UTC)
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{instant_ms % 1000:03d}+0000"


def configuration(function: Function, *, qualified: bool = False) -> dict[str, Any]:
    """FunctionConfiguration. AWS leaves out what is unset; `qualified` puts $LATEST into the ARN, as asked for."""
    status = function.status
    result: dict[str, Any] = {
        "FunctionName": function.name,
        "FunctionArn": f"{function.arn}:{LATEST}" if qualified else function.arn,
        "Runtime": function.runtime,
        "Role": function.role,
        "Handler": function.handler,
        "CodeSize": function.package.size_bytes,
        "Description": function.description,
        "Timeout": function.timeout_s,
        "MemorySize": function.memory_mb,
        "LastModified": last_modified(function.modified_ms),
        "CodeSha256": function.package.sha256_base64,
        "Version": LATEST,
        "TracingConfig": {"Mode": function.tracing},
        "RevisionId": function.revision,
        "State": status.state,
        "PackageType": "Zip",
        "Architectures": [function.architecture],
        "EphemeralStorage": {"Size": function.ephemeral_mb},
        "SnapStart": {"ApplyOn": "None", "OptimizationStatus": "Off"},
        "LoggingConfig": _logging(function.logging),
    }
    told = {
        "LastUpdateStatus": status.update,
        "StateReason": status.reason,
        "StateReasonCode": status.reason_code,
        "LastUpdateStatusReason": status.update_reason,
        "LastUpdateStatusReasonCode": status.update_reason_code,
    }
    result.update({key: value for key, value in told.items() if value})
    if function.environment is not None:
        result["Environment"] = {"Variables": function.environment}
    if function.dead_letter_arn:
        result["DeadLetterConfig"] = {"TargetArn": function.dead_letter_arn}
    return result


def _logging(logging: Logging) -> dict[str, str]:
    levels = {"ApplicationLogLevel": logging.application_level, "SystemLogLevel": logging.system_level}
    told = {key: value for key, value in levels.items() if value}
    return {"LogFormat": logging.format, **told, "LogGroup": logging.group}


def mapping_configuration(mapping: Mapping) -> dict[str, Any]:
    """EventSourceMappingConfiguration of a queue."""
    result: dict[str, Any] = {
        "UUID": mapping.uuid,
        "BatchSize": mapping.batch_size,
        "MaximumBatchingWindowInSeconds": mapping.window_s,
        "EventSourceArn": mapping.source_arn,
        "FunctionArn": mapping.function_arn,
        "LastModified": mapping.modified_ms / 1000,
        "State": mapping.state,
        "StateTransitionReason": mapping.reason,
        "FunctionResponseTypes": ["ReportBatchItemFailures"] if mapping.report_failures else [],
        "EventSourceMappingArn": mapping.arn,
    }
    if mapping.maximum_concurrency is not None:
        result["ScalingConfig"] = {"MaximumConcurrency": mapping.maximum_concurrency}
    return result
