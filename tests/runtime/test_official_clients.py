"""AWS's own runtime interface clients and libraries, as the bootstrap of a function that brings its runtime.

aws-lambda-ric for Node compiles native code when npm installs it, so it is not among these tests.
"""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

PROVIDED = {"runtime": "provided.al2023", "handler": "app.handler", "memory_mb": 1769, "timeout_s": 30}


def run(command: list[str], folder: Path, **environment: str) -> None:
    """Run a tool that may need a package registry; skip, and say why, where that can't be."""
    made = subprocess.run(
        command, cwd=folder, env={**os.environ, **environment}, capture_output=True, text=True, timeout=300, check=False
    )
    if made.returncode:
        pytest.skip(f"{Path(command[0]).name} failed here: {made.stderr.strip()[-300:]}")


def files_below(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture(scope="module")
def awslambdaric(tmp_path_factory):
    """AWS's client for Python, with a handler."""
    folder = tmp_path_factory.mktemp("ric")
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--only-binary=:all:", "--no-compile"]
    run([*pip, "--target", str(folder), "awslambdaric==4.2.2", "simplejson"], folder)
    (folder / "app.py").write_text(
        "import os\n"
        "def handler(event, context):\n"
        "    if event == 'fail': raise ValueError('so')\n"
        "    print('seen', context.aws_request_id)\n"
        "    return [event, context.function_name, context.get_remaining_time_in_millis() > 0]\n"
    )
    (folder / "bootstrap").write_text(f"#!/bin/sh\nexec {os.path.realpath(sys.executable)} -m awslambdaric $_HANDLER\n")
    return files_below(folder)


def test_awslambdaric_serves_as_a_bootstrap(bench, awslambdaric):
    version = bench.version(awslambdaric, **PROVIDED)
    outcome = bench.invoke(version, b'{"a": 1}', request_id="r-ric")
    assert json.loads(outcome.payload) == [{"a": 1}, "f", True]
    assert "seen r-ric" in outcome.log_tail.decode()
    error = json.loads(bench.invoke(version, b'"fail"').payload)
    assert (error["errorType"], error["errorMessage"]) == ("ValueError", "so")


GO = """package main

import (
	"context"
	"errors"

	"github.com/aws/aws-lambda-go/lambda"
	"github.com/aws/aws-lambda-go/lambdacontext"
)

func main() {
	lambda.Start(func(ctx context.Context, event any) (any, error) {
		if event == "fail" {
			return nil, errors.New("so")
		}
		lc, _ := lambdacontext.FromContext(ctx)
		return []any{event, lc.AwsRequestID, lambdacontext.FunctionName}, nil
	})
}
"""


@pytest.mark.skipif(not os.environ.get("TULE_SOAK"), reason="building Go's libraries takes 30 s: set TULE_SOAK=1")
@pytest.mark.skipif(shutil.which("go", path=f"{os.environ['PATH']}:/usr/local/go/bin") is None, reason="no go here")
def test_aws_lambda_go(bench, tmp_path):
    go = shutil.which("go", path=f"{os.environ['PATH']}:/usr/local/go/bin")
    (tmp_path / "main.go").write_text(GO)
    (tmp_path / "go.mod").write_text("module example\n\ngo 1.21\n")
    run([go, "get", "github.com/aws/aws-lambda-go@v1.49.0"], tmp_path)
    run([go, "build", "-tags", "lambda.norpc", "-ldflags=-s -w", "-o", "bootstrap", "."], tmp_path, CGO_ENABLED="0")
    version = bench.version({"bootstrap": (tmp_path / "bootstrap").read_bytes()}, **PROVIDED)
    assert json.loads(bench.invoke(version, b'{"a": 1}', request_id="r-go").payload) == [{"a": 1}, "r-go", "f"]
    assert json.loads(bench.invoke(version, b'"fail"').payload) == {"errorMessage": "so", "errorType": "errorString"}
