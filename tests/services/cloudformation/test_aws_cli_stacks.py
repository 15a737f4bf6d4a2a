"""The AWS CLI packages and deploys a template, unmodified."""

import os
import subprocess
import sys
from pathlib import Path

TEMPLATE = """\
Transform: AWS::Serverless-2016-10-31
Parameters:
  Size: {Type: Number, Default: 128}
Resources:
  Function:
    Type: AWS::Serverless::Function
    Properties:
      CodeUri: code/
      Handler: app.handler
      Runtime: python3.12
      MemorySize: !Ref Size
Outputs:
  Name: {Value: !Ref Function}
"""


def test_package_and_deploy(tule, fresh_account, tmp_path):
    (tmp_path / "code").mkdir()
    (tmp_path / "code" / "app.py").write_text("def handler(event, context): return event\n")
    (tmp_path / "template.yaml").write_text(TEMPLATE)
    environment = {
        "AWS_ACCESS_KEY_ID": fresh_account,
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_ENDPOINT_URL": tule.url,
        "AWS_PAGER": "",
        "HOME": str(tmp_path),
        "PATH": os.environ["PATH"],
    }

    def aws(*arguments):
        program = str(Path(sys.executable).with_name("aws"))
        done = subprocess.run(
            [program, *arguments], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    bucket = f"packages-{fresh_account}"
    aws("s3", "mb", f"s3://{bucket}")
    package = ["--template-file", "template.yaml", "--s3-bucket", bucket, "--output-template-file", "packaged.yaml"]
    aws("cloudformation", "package", *package)
    deploy = ["--template-file", "packaged.yaml", "--stack-name", "cli", "--capabilities", "CAPABILITY_IAM"]
    assert "Successfully created/updated stack - cli" in aws("cloudformation", "deploy", *deploy)
    assert "No changes to deploy" in aws("cloudformation", "deploy", *deploy, "--no-fail-on-empty-changeset")
    aws("cloudformation", "deploy", *deploy, "--parameter-overrides", "Size=256")
    (stack,) = tule.client("cloudformation", account=fresh_account).describe_stacks(StackName="cli")["Stacks"]
    name = stack["Outputs"][0]["OutputValue"]
    found = tule.client("lambda", account=fresh_account).get_function_configuration(FunctionName=name)
    assert found["MemorySize"] == 256
