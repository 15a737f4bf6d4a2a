"""Lambda's resource types for CloudFormation."""

from collections.abc import Mapping

from tule.services.lambda_.resources.aliases import ALIAS
from tule.services.lambda_.resources.code_signing import CODE_SIGNING_CONFIG
from tule.services.lambda_.resources.event_invoke_configs import EVENT_INVOKE_CONFIG
from tule.services.lambda_.resources.functions import FUNCTION
from tule.services.lambda_.resources.layers import LAYER_VERSION, LAYER_VERSION_PERMISSION
from tule.services.lambda_.resources.mappings import EVENT_SOURCE_MAPPING
from tule.services.lambda_.resources.permissions import PERMISSION
from tule.services.lambda_.resources.urls import URL
from tule.services.lambda_.resources.versions import VERSION
from tule.services.resources import ResourceType

RESOURCES: Mapping[str, ResourceType] = {
    resource.name: resource
    for resource in (
        FUNCTION,
        VERSION,
        ALIAS,
        CODE_SIGNING_CONFIG,
        PERMISSION,
        LAYER_VERSION,
        LAYER_VERSION_PERMISSION,
        EVENT_SOURCE_MAPPING,
        EVENT_INVOKE_CONFIG,
        URL,
    )
}
