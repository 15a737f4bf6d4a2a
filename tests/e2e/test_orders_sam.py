"""examples/orders by the SAM CLI, unmodified: nothing but endpoint, credentials and region in its environment."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from orders_app import EXAMPLE, OrdersApp

from installed import once
from tule.testing.server import Tule

LOCK = Path(__file__).with_name("sam-cli.lock")


@pytest.fixture(scope="session")
def sam():
    """The pinned SAM CLI in a virtual environment of its own, made once."""

    def install(folder):
        subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
        # --no-deps: the lock is complete, and pip takes no hashes for what is wanted with and without extras
        options = ["install", "--quiet", "--disable-pip-version-check", "--require-hashes", "--no-deps", "-r", LOCK]
        subprocess.run([folder / "bin" / "python", "-m", "pip", *options], check=True)

    folder = once("sam-cli", LOCK.read_bytes(), install)
    return str(folder / "bin" / "sam")


def test_sam_builds_and_deploys_the_orders(sam, tmp_path):
    example = shutil.copytree(EXAMPLE, tmp_path / "orders", ignore=shutil.ignore_patterns("node_modules", ".aws-sam"))
    with Tule(tmp_path / "home") as tule:
        environment = {
            "AWS_ACCESS_KEY_ID": "test",
            "AWS_SECRET_ACCESS_KEY": "test",
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_ENDPOINT_URL": tule.url,
            "HOME": str(tmp_path),
            "PATH": os.environ["PATH"],
            "SAM_CLI_TELEMETRY": "0",
        }

        def run(*arguments):
            done = subprocess.run(
                [sam, *arguments], cwd=example, env=environment, capture_output=True, text=True, check=False
            )
            assert done.returncode == 0, done.stdout + done.stderr
            return done.stdout

        run("build")
        run("deploy", "--stack-name", "orders", "--resolve-s3", "--capabilities", "CAPABILITY_IAM")
        again = ["deploy", "--stack-name", "orders", "--resolve-s3", "--capabilities", "CAPABILITY_IAM"]
        assert "is up to date" in run(*again, "--no-fail-on-empty-changeset")
        OrdersApp(tule).check()
        run("delete", "--stack-name", "orders", "--no-prompts", "--region", "us-east-1")
        stacks = tule.client("cloudformation").describe_stacks()["Stacks"]
        assert [stack["StackName"] for stack in stacks] == ["aws-sam-cli-managed-default"]
