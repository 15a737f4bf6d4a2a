"""ProvisionedConcurrencyConfig, which versions and aliases have in templates."""

from collections.abc import Mapping
from typing import Any

from tule.kernel.errors import AwsError
from tule.services.declaration import Context
from tule.services.lambda_.resources.properties import unless_gone
from tule.services.resources import ResourceRequest


def wanted(properties: Mapping[str, Any]) -> int:
    """How many instances a template asks for; 0 without a configuration."""
    config = properties.get("ProvisionedConcurrencyConfig") or {}
    return int(config.get("ProvisionedConcurrentExecutions", 0))


async def provision(ctx: Context, request: ResourceRequest, function: str, qualifier: str, had: int = 0) -> None:
    """Bring it about, and wait until the instances are ready, as CloudFormation does on AWS."""
    n = wanted(request.properties)
    named = {"FunctionName": function, "Qualifier": qualifier}
    if n == had:
        return
    if not n:
        await unless_gone(ctx.aws.lambda_.delete_provisioned_concurrency_config(**named))
        return
    await ctx.aws.lambda_.put_provisioned_concurrency_config(**named, ProvisionedConcurrentExecutions=n)
    while True:
        found = await ctx.aws.lambda_.get_provisioned_concurrency_config(**named)
        if found["Status"] == "READY":
            return
        if found["Status"] == "FAILED":
            raise AwsError(found["StatusReason"], code="ResourceNotStable")
        await ctx.env.machine.sleep(0.02)
