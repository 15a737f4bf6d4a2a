"""The declaration of API Gateway v2."""

from tule.services.apigatewayv2.edge import HOSTS, PATH, http_api
from tule.services.apigatewayv2.operations import apis, parts, tags
from tule.services.declaration import Coordinate, Edge, Service

SERVICE = Service(
    name="apigatewayv2",
    operations={
        "CreateApi": Coordinate(apis.create_api),
        "GetApi": Coordinate(apis.get_api),
        "GetApis": Coordinate(apis.get_apis),
        "UpdateApi": Coordinate(apis.update_api),
        "DeleteApi": Coordinate(apis.delete_api),
        "DeleteCorsConfiguration": Coordinate(apis.delete_cors_configuration),
        "ImportApi": Coordinate(apis.import_api),
        "ReimportApi": Coordinate(apis.reimport_api),
        "CreateRoute": Coordinate(parts.create_route),
        "GetRoute": Coordinate(parts.get_route),
        "GetRoutes": Coordinate(parts.get_routes),
        "UpdateRoute": Coordinate(parts.update_route),
        "DeleteRoute": Coordinate(parts.delete_route),
        "CreateIntegration": Coordinate(parts.create_integration),
        "GetIntegration": Coordinate(parts.get_integration),
        "GetIntegrations": Coordinate(parts.get_integrations),
        "UpdateIntegration": Coordinate(parts.update_integration),
        "DeleteIntegration": Coordinate(parts.delete_integration),
        "CreateStage": Coordinate(parts.create_stage),
        "GetStage": Coordinate(parts.get_stage),
        "GetStages": Coordinate(parts.get_stages),
        "UpdateStage": Coordinate(parts.update_stage),
        "DeleteStage": Coordinate(parts.delete_stage),
        "CreateDeployment": Coordinate(parts.create_deployment),
        "GetDeployment": Coordinate(parts.get_deployment),
        "GetDeployments": Coordinate(parts.get_deployments),
        "UpdateDeployment": Coordinate(parts.update_deployment),
        "DeleteDeployment": Coordinate(parts.delete_deployment),
        "GetTags": Coordinate(tags.get_tags),
        "TagResource": Coordinate(tags.tag_resource),
        "UntagResource": Coordinate(tags.untag_resource),
    },
    edges=(Edge("http-api", HOSTS, (PATH,), http_api),),
    resources="tule.services.apigatewayv2.cfn",
    coverage={
        "CreateApi": "HTTP APIs; WebSocket APIs answer 501.",
        "CreateIntegration": "AWS_PROXY to Lambda; other kinds and subtypes answer 501.",
        "CreateRoute": "AuthorizationType NONE; authorizers answer 501.",
        "CreateStage": "Access logs and route settings answer 501.",
    },
)
