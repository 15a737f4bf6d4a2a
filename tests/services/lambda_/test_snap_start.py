"""SnapStart through boto3: from publishing a version to invoking it."""

import base64
import json

import pytest
from botocore.exceptions import ClientError

from conftest import PATIENT
from tule.testing.server import Tule

COUNTING = """
    import time

    AT = time.time()

    def handler(event, context):
        return AT
"""
ON = {"ApplyOn": "PublishedVersions"}


def published(functions, source, **settings):
    """The number of a version that has settled, whatever became of it."""
    functions.deploy(source, SnapStart=ON, **settings)
    told = functions.client.publish_version(FunctionName="worker")
    assert told["State"] == "Pending"
    assert told["StateReasonCode"] == "Creating"
    functions.client.get_waiter("published_version_active").wait(
        FunctionName="worker", Qualifier=told["Version"], WaiterConfig=PATIENT
    )
    return told["Version"]


def optimized(functions, qualifier):
    told = functions.client.get_function_configuration(FunctionName="worker", Qualifier=qualifier)
    return told["SnapStart"]


def call(functions, qualifier, **more):
    answer = functions.client.invoke(FunctionName="worker", Qualifier=qualifier, LogType="Tail", **more)
    return json.loads(answer["Payload"].read()), base64.b64decode(answer["LogResult"]).decode()


def test_a_published_version_starts_from_its_snapshot(functions):
    version = published(functions, COUNTING)
    assert optimized(functions, version) == {"ApplyOn": "PublishedVersions", "OptimizationStatus": "On"}
    assert optimized(functions, "$LATEST") == {"ApplyOn": "PublishedVersions", "OptimizationStatus": "Off"}
    made_at, log = call(functions, version)
    assert "Restore Duration: " in log
    assert "Init Duration" not in log
    functions.client.create_alias(FunctionName="worker", Name="live", FunctionVersion=version)
    assert call(functions, "live")[0] == made_at
    assert call(functions, "$LATEST")[0] > made_at, "$LATEST runs its own init"


def test_what_can_not_be_forked_is_active_and_off(functions):
    source = """
        import threading

        threading.Thread(target=threading.Event().wait, daemon=True).start()

        def handler(event, context):
            return 1
    """
    version = published(functions, source)
    assert optimized(functions, version)["OptimizationStatus"] == "Off"
    answer, log = call(functions, version)
    assert answer == 1
    assert "Tule: SnapStart is off: 1 thread(s) run after init" in log


def test_an_init_that_fails_fails_the_version(functions):
    functions.deploy("raise ValueError('no')", SnapStart=ON)
    version = functions.client.publish_version(FunctionName="worker")["Version"]
    waiter = functions.client.get_waiter("published_version_active")
    with pytest.raises(Exception, match="Failed"):
        waiter.wait(FunctionName="worker", Qualifier=version, WaiterConfig=PATIENT)
    told = functions.client.get_function_configuration(FunctionName="worker", Qualifier=version)
    assert (told["State"], told["StateReasonCode"]) == ("Failed", "FunctionError.RuntimeInitError")
    assert told["StateReason"] == "An error occurred during function initialization."


def test_a_failing_hook_is_awss_error(functions):
    source = """
        from snapshot_restore_py import register_after_restore

        @register_after_restore
        def fail():
            raise ValueError("no")

        def handler(event, context):
            return 1
    """
    version = published(functions, source)
    with pytest.raises(ClientError) as refused:
        functions.client.invoke(FunctionName="worker", Qualifier=version)
    error = refused.value.response
    assert error["Error"]["Code"] == "SnapStartException"
    assert error["ResponseMetadata"]["HTTPStatusCode"] == 400


def test_a_tag_gives_the_unpublished_function_a_snapshot(functions):
    functions.deploy(COUNTING, Tags={"tule:snap-start": "on"})
    assert "Restore Duration: " in call(functions, "$LATEST")[1]


def test_a_snapshot_outlives_a_restart(tmp_path, functions_of):
    with Tule(str(tmp_path)) as tule:
        functions = functions_of(tule)
        version = published(functions, COUNTING)
        before, _ = call(functions, version)
    with Tule(str(tmp_path)) as tule:
        again, log = call(functions_of(tule), version)
    assert again > before, "it is another process, taken anew"
    assert "Restore Duration: " in log
