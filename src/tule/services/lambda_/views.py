"""How functions, policies and mappings look in answers."""

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from tule.services.lambda_.code_signing import CodeSigning
from tule.services.lambda_.models import Alias, Function, Layer, Logging, Mapping, Provisioned, Status

if TYPE_CHECKING:
    from tule.services.lambda_.readiness import Readiness


def last_modified(instant_ms: int) -> str:
    """Lambda's own form of a time: 2026-11-21T12:00:00.123+0000."""
    moment = datetime.fromtimestamp(instant_ms / 1000, UTC)
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{instant_ms % 1000:03d}+0000"


def configuration(function: Function, qualifier: str = "") -> dict[str, Any]:
    """FunctionConfiguration. AWS leaves out what is unset; the ARN has the qualifier by which the caller asked."""
    return {**listed(function, qualifier), **_life_cycle(function.status)}


def _life_cycle(status: Status) -> dict[str, str]:
    told = {
        "State": status.state,
        "LastUpdateStatus": status.update,
        "StateReason": status.reason,
        "StateReasonCode": status.reason_code,
        "LastUpdateStatusReason": status.update_reason,
        "LastUpdateStatusReasonCode": status.update_reason_code,
    }
    return {key: value for key, value in told.items() if value}


def listed(function: Function, qualifier: str = "") -> dict[str, Any]:
    """FunctionConfiguration as lists have it: without the life cycle, as AWS's documentation of ListFunctions says."""
    result: dict[str, Any] = {
        "FunctionName": function.name,
        "FunctionArn": f"{function.arn}:{qualifier}" if qualifier else function.arn,
        "Runtime": function.runtime,
        "Role": function.role,
        "Handler": function.handler,
        "CodeSize": function.package.size_bytes,
        "Description": function.description,
        "Timeout": function.timeout_s,
        "MemorySize": function.memory_mb,
        "LastModified": last_modified(function.modified_ms),
        "CodeSha256": function.package.sha256_base64,
        "Version": function.version,
        "TracingConfig": {"Mode": function.tracing},
        "RevisionId": function.revision,
        "PackageType": "Zip",
        "Architectures": [function.architecture],
        "EphemeralStorage": {"Size": function.ephemeral_mb},
        "SnapStart": _snap_start(function),
        "LoggingConfig": _logging(function.logging),
    }
    if function.environment is not None:
        result["Environment"] = {"Variables": function.environment}
    if function.dead_letter_arn:
        result["DeadLetterConfig"] = {"TargetArn": function.dead_letter_arn}
    if function.layers:
        result["Layers"] = [{"Arn": layer.arn, "CodeSize": layer.package.size_bytes} for layer in function.layers]
    return result


def _snap_start(function: Function) -> dict[str, str]:
    """A published version is optimised when its snapshot has been taken; $LATEST never is."""
    if not function.snap_start:
        return {"ApplyOn": "None", "OptimizationStatus": "Off"}
    return {"ApplyOn": "PublishedVersions", "OptimizationStatus": "On" if function.status.optimized else "Off"}


def alias_configuration(alias: Alias, function_arn: str) -> dict[str, Any]:
    """AliasConfiguration."""
    result: dict[str, Any] = {
        "AliasArn": f"{function_arn}:{alias.name}",
        "Name": alias.name,
        "FunctionVersion": alias.version,
        "Description": alias.description,
        "RevisionId": alias.revision,
    }
    if alias.weights:
        result["RoutingConfig"] = {"AdditionalVersionWeights": alias.weights}
    return result


def provisioned_configuration(config: Provisioned, readiness: "Readiness", status: str = "") -> dict[str, Any]:
    """What Put- and GetProvisionedConcurrencyConfig answer."""
    if not status:
        status = "READY" if readiness.available >= config.requested else "FAILED" if readiness.reason else "IN_PROGRESS"
    result: dict[str, Any] = {
        "RequestedProvisionedConcurrentExecutions": config.requested,
        "AvailableProvisionedConcurrentExecutions": readiness.available,
        "AllocatedProvisionedConcurrentExecutions": readiness.allocated,
        "Status": status,
        "LastModified": last_modified(config.modified_ms),
    }
    if status == "FAILED":
        result["StatusReason"] = readiness.reason
    return result


def layer_version(layer: Layer) -> dict[str, Any]:
    """LayerVersionsListItem."""
    result: dict[str, Any] = {
        "LayerVersionArn": layer.arn,
        "Version": layer.version,
        "Description": layer.description,
        "CreatedDate": last_modified(layer.created_ms),
    }
    if layer.runtimes:
        result["CompatibleRuntimes"] = list(layer.runtimes)
    if layer.architectures:
        result["CompatibleArchitectures"] = list(layer.architectures)
    if layer.license:
        result["LicenseInfo"] = layer.license
    return result


def code_signing_configuration(config: CodeSigning) -> dict[str, Any]:
    """CodeSigningConfig."""
    return {
        "CodeSigningConfigId": config.id,
        "CodeSigningConfigArn": config.arn,
        "Description": config.description,
        "AllowedPublishers": {"SigningProfileVersionArns": list(config.publishers)},
        "CodeSigningPolicies": {"UntrustedArtifactOnDeployment": config.policy},
        "LastModified": last_modified(config.modified_ms),
    }


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
