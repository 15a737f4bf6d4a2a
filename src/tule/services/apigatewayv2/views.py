"""How APIs and their parts look in answers."""

from typing import Any
from urllib.parse import urlsplit

from tule.services.apigatewayv2.models import SELECTION, Api, Cors, Deployment, Integration, Route, Stage


def endpoint(api: Api, base_url: str) -> str:
    """The API's own URL at the address by which the caller reached Tule: http://{id}.execute-api.localhost:4566.

    A caller that used another name than localhost can't be told a host name that leads here, so it gets the path form.
    """
    parts = urlsplit(base_url)
    port = f":{parts.port}" if parts.port else ""
    if parts.hostname in {"localhost", "127.0.0.1", "::1"}:
        return f"{parts.scheme}://{api.id}.execute-api.localhost{port}"
    return f"{base_url}/_aws/execute-api/{api.id}"


def _set(result: dict[str, Any], **values: Any) -> dict[str, Any]:
    """`result` with those of `values` that are set; AWS leaves out the rest."""
    result.update({key: value for key, value in values.items() if value not in (None, "", {}, [])})
    return result


def cors_view(cors: Cors) -> dict[str, Any]:
    return _set(
        {"AllowCredentials": True} if cors.allow_credentials else {},
        AllowHeaders=cors.allow_headers,
        AllowMethods=cors.allow_methods,
        AllowOrigins=cors.allow_origins,
        ExposeHeaders=cors.expose_headers,
        MaxAge=cors.max_age,
    )


def api_view(api: Api, base_url: str) -> dict[str, Any]:
    result = {
        "ApiEndpoint": endpoint(api, base_url),
        "ApiId": api.id,
        "ApiKeySelectionExpression": "$request.header.x-api-key",
        "CreatedDate": api.created_ms / 1000,
        "DisableExecuteApiEndpoint": api.endpoint_disabled,
        "IpAddressType": "ipv4",
        "Name": api.name,
        "ProtocolType": "HTTP",
        "RouteSelectionExpression": SELECTION,
        "Tags": api.tags,
    }
    if api.cors is not None:
        result["CorsConfiguration"] = cors_view(api.cors)
    return _set(result, Description=api.description, Version=api.version)


def route_view(route: Route) -> dict[str, Any]:
    result: dict[str, Any] = {
        "ApiKeyRequired": False,
        "AuthorizationType": "NONE",
        "RouteId": route.id,
        "RouteKey": route.key,
    }
    if route.integration:
        result["Target"] = f"integrations/{route.integration}"
    return _set(result, OperationName=route.operation_name, ApiGatewayManaged=route.managed or None)


def integration_view(integration: Integration) -> dict[str, Any]:
    result = {
        "ConnectionType": "INTERNET",
        "IntegrationId": integration.id,
        "IntegrationMethod": integration.method,
        "IntegrationType": "AWS_PROXY",
        "IntegrationUri": integration.uri,
        "PayloadFormatVersion": integration.payload_version,
        "TimeoutInMillis": integration.timeout_ms,
    }
    return _set(result, Description=integration.description, ApiGatewayManaged=integration.managed or None)


def stage_view(stage: Stage) -> dict[str, Any]:
    result: dict[str, Any] = {
        "AutoDeploy": stage.auto_deploy,
        "CreatedDate": stage.created_ms / 1000,
        "DefaultRouteSettings": {"DetailedMetricsEnabled": False},
        "LastUpdatedDate": stage.updated_ms / 1000,
        "RouteSettings": {},
        "StageName": stage.name,
        "StageVariables": stage.variables,
        "Tags": stage.tags,
    }
    return _set(
        result,
        DeploymentId=stage.deployment,
        Description=stage.description,
        LastDeploymentStatusMessage=stage.message,
        ApiGatewayManaged=stage.managed or None,
    )


def deployment_view(deployment: Deployment) -> dict[str, Any]:
    result = {
        "AutoDeployed": deployment.automatic,
        "CreatedDate": deployment.created_ms / 1000,
        "DeploymentId": deployment.id,
        "DeploymentStatus": "DEPLOYED",
    }
    return _set(result, Description=deployment.description)
