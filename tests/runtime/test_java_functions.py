"""Java handlers, run by AWS's own runtime interface client on the host's JDK."""

import asyncio
import io
import json
import shutil
import subprocess
import tempfile
import zipfile
from pathlib import Path

import pytest

from tule.runtime import java_client, toolchains
from tule.runtime.contract import RuntimeUnavailableError
from tule.runtime.hosts import Interpreters

JAVA = {"runtime": "java17", "handler": "app.Handler::handle", "memory_mb": 1769, "timeout_s": 30}
SOURCE = """package app;
import java.util.Map;
public class Handler {
  public Map<String, Object> handle(Map<String, Object> event) {
    if (event.containsKey("fail")) throw new IllegalStateException("so");
    System.out.println("seen " + event);
    return Map.of("got", event, "heap_mb", Runtime.getRuntime().maxMemory() >> 20,
        "handler", System.getenv("_HANDLER"), "wrapped", String.valueOf(System.getenv("WRAPPED")));
  }
}
"""


@pytest.fixture(scope="module")
def cache():
    """The client's jars, fetched once per machine; a skip, with its reason, where they can't be had."""
    if shutil.which("javac") is None:
        pytest.skip("no javac on this machine")
    folder = Path(tempfile.gettempdir(), "tule-tests-java")
    try:
        asyncio.run(java_client.install(folder))
    except (RuntimeUnavailableError, OSError) as error:
        pytest.skip(f"no Java client on this machine: {error}")
    return folder


@pytest.fixture(scope="module")
def classes(tmp_path_factory):
    """The handler, compiled for Java 17."""
    folder = tmp_path_factory.mktemp("java")
    (folder / "Handler.java").write_text(SOURCE)
    subprocess.run(["javac", "--release", "17", "-d", str(folder), "Handler.java"], cwd=folder, check=True)
    return (folder / "app/Handler.class").read_bytes()


@pytest.fixture
def java(cache, make_bench):
    return make_bench(cache=cache)


def jar(files: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return buffer.getvalue()


def test_a_handler_of_classes_answers_and_fails(java, classes):
    version = java.version({"app/Handler.class": classes}, **JAVA)
    outcome = java.invoke(version, b'{"a": 1}')
    told = json.loads(outcome.payload)
    assert (told["got"], told["handler"]) == ({"a": 1}, "app.Handler::handle")
    assert 1300 <= told["heap_mb"] <= 1769 * 0.85 + 1
    assert "seen {a=1}" in outcome.log_tail.decode()
    assert outcome.max_memory_mb > 10
    error = json.loads(java.invoke(version, b'{"fail": 1}').payload)
    assert (error["errorType"], error["errorMessage"]) == ("java.lang.IllegalStateException", "so")
    assert java.invoke(version, b"{}").error is None


def test_a_handler_in_a_jar_below_lib(java, classes):
    version = java.version({"lib/mine.jar": jar({"app/Handler.class": classes})}, **JAVA)
    assert json.loads(java.invoke(version, b"{}").payload)["got"] == {}


def test_a_wrapper_script_starts_java(java, classes):
    files = {"app/Handler.class": classes, "wrap": '#!/bin/sh\nexport WRAPPED=yes\nexec "$@"\n'}
    version = java.version(files, environment={"AWS_LAMBDA_EXEC_WRAPPER": "/var/task/wrap"}, **JAVA)
    assert json.loads(java.invoke(version, b"{}").payload)["wrapped"] == "yes"


def test_a_class_that_is_not_there(java, classes):
    version = java.version({"app/Handler.class": classes}, **{**JAVA, "handler": "app.Missing::handle"})
    error = json.loads(java.invoke(version, b"{}").payload)
    assert "app.Missing" in error["errorMessage"]


@pytest.mark.parametrize(
    ("found", "wanted", "best"),
    [({17: "a", 21: "b"}, 17, 17), ({17: "a", 25: "b"}, 21, 25), ({17: "a"}, 21, 0), ({}, 17, 0)],
)
def test_the_next_newer_java_serves(found, wanted, best):
    assert toolchains.best_java(found, wanted) == best


@pytest.mark.parametrize("runtime", ["ruby3.4", "dotnet8", "java99"])
def test_what_is_missing_is_named(bench, runtime):
    version = bench.version({"x": "y"}, runtime=runtime)
    with pytest.raises(RuntimeUnavailableError, match="this machine lacks") as refused:
        bench.invoke(version)
    assert str(refused.value).startswith(f"{runtime} can't run here")


def test_where_the_client_can_not_be_had_the_error_says_what_to_do(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(RuntimeUnavailableError, match=r"Install Maven, or put aws-lambda-java-runtime.*\.jar"):
        asyncio.run(java_client.install(tmp_path / "cache"))


def test_a_newer_java_is_told_as_such():
    interpreters = Interpreters()
    found = asyncio.run(interpreters.serving("java17"))
    if found is None:
        pytest.skip("no Java on this machine")
    assert (interpreters.warning("java17", found) == "") == (found.number == 17)
