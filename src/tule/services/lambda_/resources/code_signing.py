"""AWS::Lambda::CodeSigningConfig."""

from collections.abc import Mapping
from typing import Any, Final

from tule.services.declaration import Context
from tule.services.lambda_.resources.properties import members, unless_gone
from tule.services.resources import ResourceRequest, ResourceState, ResourceType

_CONFIG: Final = ("AllowedPublishers", "CodeSigningPolicies", "Description")


def _state(config: Mapping[str, Any]) -> ResourceState:
    arn, config_id = config["CodeSigningConfigArn"], config["CodeSigningConfigId"]
    return ResourceState(arn, {"CodeSigningConfigArn": arn, "CodeSigningConfigId": config_id})


async def _create(ctx: Context, request: ResourceRequest) -> ResourceState:
    made = await ctx.aws.lambda_.create_code_signing_config(**members(request, _CONFIG))
    return _state(made["CodeSigningConfig"])


async def _update(ctx: Context, request: ResourceRequest, _old: Mapping[str, Any], physical_id: str) -> ResourceState:
    defaults = {"Description": "", "CodeSigningPolicies": {"UntrustedArtifactOnDeployment": "Warn"}}
    asked = {**defaults, **members(request, _CONFIG)}
    made = await ctx.aws.lambda_.update_code_signing_config(CodeSigningConfigArn=physical_id, **asked)
    return _state(made["CodeSigningConfig"])


async def _delete(ctx: Context, _request: ResourceRequest, physical_id: str) -> None:
    await unless_gone(ctx.aws.lambda_.delete_code_signing_config(CodeSigningConfigArn=physical_id))


CODE_SIGNING_CONFIG: Final = ResourceType(
    "AWS::Lambda::CodeSigningConfig",
    frozenset(_CONFIG),
    _create,
    _delete,
    _update,
    required=frozenset({"AllowedPublishers"}),
)
