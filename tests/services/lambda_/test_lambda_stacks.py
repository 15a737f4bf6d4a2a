"""Functions, triggers and HTTP APIs as resources of a stack."""

import json

import pytest
from patience import eventually

INLINE = """def handler(event, context):
    return {"statusCode": 200, "body": "v1"}
"""


def template(fresh_account, **changes):
    function = {
        "Type": "AWS::Lambda::Function",
        "Properties": {
            "Runtime": "python3.13",
            "Handler": "index.handler",
            "Role": f"arn:aws:iam::{fresh_account}:role/worker",
            "Code": {"ZipFile": INLINE},
            "Timeout": "7",
            "Environment": {"Variables": {"LEVEL": 3, "QUEUE": {"Ref": "Queue"}}},
            "Tags": [{"Key": "team", "Value": "a"}],
            **changes,
        },
    }
    uri = "arn:aws:apigateway:${AWS::Region}:lambda:path/2015-03-31/functions/${Worker.Arn}/invocations"
    integration = {
        "type": "aws_proxy",
        "httpMethod": "POST",
        "payloadFormatVersion": "2.0",
        "uri": {"Fn::Sub": uri},
    }
    return json.dumps(
        {
            "Resources": {
                "Queue": {"Type": "AWS::SQS::Queue"},
                "Worker": function,
                "Trigger": {
                    "Type": "AWS::Lambda::EventSourceMapping",
                    "Properties": {
                        "EventSourceArn": {"Fn::GetAtt": ["Queue", "Arn"]},
                        "FunctionName": {"Ref": "Worker"},
                        "BatchSize": 5,
                        "FunctionResponseTypes": ["ReportBatchItemFailures"],
                    },
                },
                "Api": {
                    "Type": "AWS::ApiGatewayV2::Api",
                    "Properties": {
                        "Body": {
                            "openapi": "3.0.1",
                            "info": {"title": {"Ref": "AWS::StackName"}, "version": "1.0"},
                            "paths": {"/orders": {"get": {"x-amazon-apigateway-integration": integration}}},
                        }
                    },
                },
                "Stage": {
                    "Type": "AWS::ApiGatewayV2::Stage",
                    "Properties": {"ApiId": {"Ref": "Api"}, "StageName": "$default", "AutoDeploy": True},
                },
                "Permission": {
                    "Type": "AWS::Lambda::Permission",
                    "Properties": {
                        "FunctionName": {"Ref": "Worker"},
                        "Action": "lambda:InvokeFunction",
                        "Principal": "apigateway.amazonaws.com",
                    },
                },
            },
            "Outputs": {"Arn": {"Value": {"Fn::GetAtt": ["Worker", "Arn"]}}, "Api": {"Value": {"Ref": "Api"}}},
        }
    )


@pytest.fixture
def stacks(tule, fresh_account):
    return tule.client("cloudformation", account=fresh_account)


def settle(stacks, done):
    def look():
        stack = stacks.describe_stacks(StackName="shop")["Stacks"][0]
        return None if stack["StackStatus"].endswith("IN_PROGRESS") else stack

    stack = eventually(f"the stack to be {done}", look)
    assert stack["StackStatus"] == done, stacks.describe_stack_events(StackName="shop")["StackEvents"]
    return {output["OutputKey"]: output["OutputValue"] for output in stack.get("Outputs", [])}


def test_a_stack_makes_changes_and_removes_a_function_with_all_around_it(tule, stacks, fresh_account):
    functions = tule.client("lambda", account=fresh_account)
    stacks.create_stack(StackName="shop", TemplateBody=template(fresh_account))
    outputs = settle(stacks, "CREATE_COMPLETE")

    found = functions.get_function(FunctionName=outputs["Arn"])
    configuration = found["Configuration"]
    assert configuration["FunctionName"].startswith("shop-Worker-")
    assert configuration["Timeout"] == 7
    assert configuration["Environment"]["Variables"]["LEVEL"] == "3"
    assert found["Tags"]["team"] == "a"
    mapping = functions.list_event_source_mappings(FunctionName=outputs["Arn"])["EventSourceMappings"][0]
    assert (mapping["BatchSize"], mapping["FunctionResponseTypes"]) == (5, ["ReportBatchItemFailures"])
    apis = tule.client("apigatewayv2", account=fresh_account)
    assert apis.get_api(ApiId=outputs["Api"])["Name"] == "shop"
    assert [route["RouteKey"] for route in apis.get_routes(ApiId=outputs["Api"])["Items"]] == ["GET /orders"]
    assert "apigateway.amazonaws.com" in functions.get_policy(FunctionName=outputs["Arn"])["Policy"]

    stacks.update_stack(
        StackName="shop", TemplateBody=template(fresh_account, Timeout=9, Code={"ZipFile": INLINE.replace("v1", "v2")})
    )
    assert settle(stacks, "UPDATE_COMPLETE") == outputs
    updated = functions.get_function_configuration(FunctionName=outputs["Arn"])
    assert updated["Timeout"] == 9
    assert updated["CodeSha256"] != configuration["CodeSha256"]

    stacks.delete_stack(StackName="shop")

    def deleted():
        found = stacks.list_stacks()["StackSummaries"]
        return True if all(stack["StackStatus"] == "DELETE_COMPLETE" for stack in found) else None

    eventually("the stack to be deleted", deleted)
    assert functions.list_functions()["Functions"] == []
    assert functions.list_event_source_mappings()["EventSourceMappings"] == []
    assert apis.get_apis()["Items"] == []


def test_sams_stock_globals_ask_for_a_json_log(tule, stacks, fresh_account):
    functions = tule.client("lambda", account=fresh_account)
    template = {
        "Transform": "AWS::Serverless-2016-10-31",
        "Globals": {"Function": {"Timeout": 3, "LoggingConfig": {"LogFormat": "JSON"}}},
        "Resources": {
            "Hello": {
                "Type": "AWS::Serverless::Function",
                "Properties": {"InlineCode": INLINE, "Handler": "index.handler", "Runtime": "python3.13"},
            }
        },
    }
    body = {"StackName": "shop", "Capabilities": ["CAPABILITY_IAM", "CAPABILITY_AUTO_EXPAND"]}
    stacks.create_stack(TemplateBody=json.dumps(template), **body)
    settle(stacks, "CREATE_COMPLETE")
    (made,) = functions.list_functions()["Functions"]
    assert (made["LoggingConfig"]["LogFormat"], made["LoggingConfig"]["SystemLogLevel"]) == ("JSON", "INFO")

    del template["Globals"]["Function"]["LoggingConfig"]
    stacks.update_stack(TemplateBody=json.dumps(template), **body)
    settle(stacks, "UPDATE_COMPLETE")
    (made,) = functions.list_functions()["Functions"]
    assert made["LoggingConfig"] == {"LogFormat": "Text", "LogGroup": f"/aws/lambda/{made['FunctionName']}"}
