"""`tule deploy` tells where the function URLs of a stack are."""

from urllib.request import urlopen

from orders_app import run_tule

TEMPLATE = """
Transform: AWS::Serverless-2016-10-31
Resources:
  Page:
    Type: AWS::Serverless::Function
    Properties:
      Runtime: python3.13
      Handler: index.handler
      MemorySize: 1769
      InlineCode: |
        def handler(event, context):
            return {"path": event["rawPath"]}
      FunctionUrlConfig:
        AuthType: NONE
"""


def test_a_deployed_function_url_is_printed_and_works(tule, tmp_path):
    template = tmp_path / "template.yaml"
    template.write_text(TEMPLATE)

    done = run_tule(tule, "deploy", str(template), "--stack-name", "page")

    (address,) = done["function_urls"]
    assert address["logical_id"] == "PageUrl"
    assert address["url"].endswith(f".lambda-url.us-east-1.localhost:{tule.port}/")
    with urlopen(f"{address['path_url']}hello") as answer:
        assert answer.read() == b'{"path": "/hello"}'
    run_tule(tule, "delete", "page")
