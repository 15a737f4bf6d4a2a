"""Application Auto Scaling through boto3: provisioned concurrency that follows schedules and work."""

import io
import json
import threading
import time
import zipfile

import pytest
from botocore.config import Config
from botocore.exceptions import ClientError

from tule.testing.server import Tule

DIMENSION = "lambda:function:ProvisionedConcurrency"
TARGET = {"ServiceNamespace": "lambda", "ResourceId": "function:worker:live", "ScalableDimension": DIMENSION}
ROLE = "arn:aws:iam::111122223333:role/worker"
SLOW = """
import time

def handler(event, context):
    time.sleep(event["s"])
"""
WITHIN_S = 60.0
PATIENT = {"Delay": 0.05, "MaxAttempts": 1200}
"""Bounds on waits, not expectations."""


class Cloud:
    """A Tule of its own, whose clock a test may move, with a function that has an alias."""

    def __init__(self, tule):
        self.tule = tule
        config = Config(parameter_validation=False, read_timeout=120, retries={"total_max_attempts": 1})
        self.functions = tule.client("lambda", config=config)
        self.scaling = tule.client("application-autoscaling", config=config)

    def deploy(self):
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w") as archive:
            archive.writestr("app.py", SLOW)
        self.functions.create_function(
            FunctionName="worker", Runtime="python3.13", Role=ROLE, Handler="app.handler", Timeout=60,
            MemorySize=1769, Code={"ZipFile": buffer.getvalue()}, Publish=True,
        )  # fmt: skip
        for qualifier in ({}, {"Qualifier": "1"}):
            self.functions.get_waiter("function_active_v2").wait(
                FunctionName="worker", **qualifier, WaiterConfig=PATIENT
            )
        self.functions.create_alias(FunctionName="worker", Name="live", FunctionVersion="1")

    def capacity(self):
        """(asked for, status); (0, "NONE") where there is none."""
        listed = self.functions.list_provisioned_concurrency_configs(FunctionName="worker")
        for found in listed["ProvisionedConcurrencyConfigs"]:
            return found["RequestedProvisionedConcurrentExecutions"], found["Status"]
        return 0, "NONE"

    def until(self, wanted):
        deadline = time.monotonic() + WITHIN_S
        while (found := self.capacity()) != wanted:
            assert time.monotonic() < deadline, (found, wanted, self.activities())
            time.sleep(0.05)

    def activities(self):
        return self.scaling.describe_scaling_activities(ServiceNamespace="lambda")["ScalingActivities"]


@pytest.fixture
def cloud():
    with Tule() as tule:
        made = Cloud(tule)
        made.deploy()
        yield made


@pytest.fixture
def client(tule, fresh_account):
    config = Config(parameter_validation=False)
    return tule.client("application-autoscaling", account=fresh_account, config=config)


def refusal(call):
    with pytest.raises(ClientError) as caught:
        call()
    error = caught.value.response["Error"]
    return error["Code"], error["Message"]


def test_a_target_keeps_capacity_between_its_bounds(cloud):
    made = cloud.scaling.register_scalable_target(**TARGET, MinCapacity=1, MaxCapacity=2, Tags={"team": "a"})

    cloud.until((1, "READY"))
    (target,) = cloud.scaling.describe_scalable_targets(ServiceNamespace="lambda")["ScalableTargets"]
    assert (target["MinCapacity"], target["MaxCapacity"]) == (1, 2)
    assert target["ScalableTargetARN"] == made["ScalableTargetARN"]
    assert target["RoleARN"].endswith("AWSServiceRoleForApplicationAutoScaling_LambdaConcurrency")
    arn = {"ResourceARN": made["ScalableTargetARN"]}
    cloud.scaling.tag_resource(**arn, Tags={"stage": "b"})
    cloud.scaling.untag_resource(**arn, TagKeys=["team"])
    assert cloud.scaling.list_tags_for_resource(**arn)["Tags"] == {"stage": "b"}
    (activity,) = cloud.activities()
    assert (activity["StatusCode"], activity["Description"]) == ("Successful", "Setting desired concurrency to 1.")

    cloud.scaling.deregister_scalable_target(**TARGET)
    assert cloud.capacity() == (1, "READY")
    assert refusal(lambda: cloud.scaling.deregister_scalable_target(**TARGET)) == (
        "ObjectNotFoundException",
        (
            "No scalable target found for service namespace: lambda, resource ID: function:worker:live, scalable "
            f"dimension: {DIMENSION}"
        ),
    )


def test_schedules_move_the_bounds_and_survive_a_crash(tmp_path):
    with Tule(directory=tmp_path) as tule:
        cloud = Cloud(tule)
        cloud.deploy()
        cloud.tule.clock_pause()
        cloud.scaling.register_scalable_target(**TARGET, MinCapacity=0, MaxCapacity=5)
        put = cloud.scaling.put_scheduled_action
        put(**TARGET, ScheduledActionName="day", Schedule="rate(1 hour)", ScalableTargetAction={"MinCapacity": 2})
        cloud.tule.advance("59m")
        assert cloud.capacity() == (0, "NONE")
        cloud.tule.advance("1m")
        cloud.until((2, "READY"))
        (activity,) = cloud.activities()
        assert activity["Cause"] == "scheduled action name day was triggered"
        cloud.scaling.delete_scheduled_action(**TARGET, ScheduledActionName="day")
        put(
            **TARGET, ScheduledActionName="night", Schedule="cron(0 22 * * ? *)", Timezone="Europe/Berlin",
            ScalableTargetAction={"MinCapacity": 0, "MaxCapacity": 0},
        )  # fmt: skip
        tule.kill()
    with Tule(directory=tmp_path) as tule:
        cloud = Cloud(tule)
        (action,) = cloud.scaling.describe_scheduled_actions(ServiceNamespace="lambda")["ScheduledActions"]
        assert (action["ScheduledActionName"], action["Timezone"]) == ("night", "Europe/Berlin")
        cloud.tule.advance("24h")
        cloud.until((0, "NONE"))


def test_work_makes_capacity_follow_and_its_end_too(cloud):
    cloud.scaling.register_scalable_target(**TARGET, MinCapacity=1, MaxCapacity=2)
    cloud.until((1, "READY"))
    cloud.scaling.put_scaling_policy(
        **TARGET, PolicyName="half", PolicyType="TargetTrackingScaling",
        TargetTrackingScalingPolicyConfiguration={
            "TargetValue": 0.5,
            "PredefinedMetricSpecification": {"PredefinedMetricType": "LambdaProvisionedConcurrencyUtilization"},
        },
    )  # fmt: skip
    cloud.tule.clock_pause()
    enough = threading.Event()

    def work():
        while not enough.is_set():
            cloud.functions.invoke(FunctionName="worker:live", Payload=b'{"s": 1}')

    worker = threading.Thread(target=work, daemon=True)
    worker.start()

    deadline = time.monotonic() + WITHIN_S
    while cloud.capacity()[0] == 1:  # until the work has been seen at a minute's end
        cloud.tule.advance("3m")
        assert time.monotonic() < deadline, cloud.activities()
        time.sleep(0.3)
    enough.set()
    worker.join(WITHIN_S)
    cloud.until((2, "READY"))
    assert "triggered policy half" in cloud.activities()[0]["Cause"]

    deadline = time.monotonic() + WITHIN_S
    while cloud.capacity()[0] == 2:
        cloud.tule.advance("16m")
        assert time.monotonic() < deadline, cloud.activities()
        time.sleep(0.3)
    cloud.until((1, "READY"))
    (policy,) = cloud.scaling.describe_scaling_policies(ServiceNamespace="lambda")["ScalingPolicies"]
    assert policy["TargetTrackingScalingPolicyConfiguration"]["TargetValue"] == 0.5
    cloud.scaling.delete_scaling_policy(**TARGET, PolicyName="half")
    assert refusal(lambda: cloud.scaling.delete_scaling_policy(**TARGET, PolicyName="half"))[0] == (
        "ObjectNotFoundException"
    )


def test_a_stack_scales_a_function(cloud):
    named = dict(TARGET)
    template = {
        "Resources": {
            "Target": {
                "Type": "AWS::ApplicationAutoScaling::ScalableTarget",
                "Properties": {
                    **named,
                    "MinCapacity": "1",
                    "MaxCapacity": 3,
                    "RoleARN": ROLE,
                    "ScheduledActions": [
                        {
                            "ScheduledActionName": "day",
                            "Schedule": "cron(0 8 * * ? *)",
                            "ScalableTargetAction": {"MinCapacity": 2},
                        }
                    ],
                },
            },
            "Policy": {
                "Type": "AWS::ApplicationAutoScaling::ScalingPolicy",
                "Properties": {
                    "PolicyName": "half",
                    "PolicyType": "TargetTrackingScaling",
                    "ScalingTargetId": {"Ref": "Target"},
                    "TargetTrackingScalingPolicyConfiguration": {
                        "TargetValue": "0.5",
                        "PredefinedMetricSpecification": {
                            "PredefinedMetricType": "LambdaProvisionedConcurrencyUtilization"
                        },
                    },
                },
            },
        }
    }
    stacks = cloud.tule.client("cloudformation")
    stacks.create_stack(StackName="scaled", TemplateBody=json.dumps(template))
    stacks.get_waiter("stack_create_complete").wait(StackName="scaled", WaiterConfig=PATIENT)

    cloud.until((1, "READY"))
    namespace = {"ServiceNamespace": "lambda"}
    assert len(cloud.scaling.describe_scheduled_actions(**namespace)["ScheduledActions"]) == 1
    assert len(cloud.scaling.describe_scaling_policies(**namespace)["ScalingPolicies"]) == 1

    del template["Resources"]["Target"]["Properties"]["ScheduledActions"]
    stacks.update_stack(StackName="scaled", TemplateBody=json.dumps(template))
    stacks.get_waiter("stack_update_complete").wait(StackName="scaled", WaiterConfig=PATIENT)
    assert cloud.scaling.describe_scheduled_actions(**namespace)["ScheduledActions"] == []

    stacks.delete_stack(StackName="scaled")
    stacks.get_waiter("stack_delete_complete").wait(StackName="scaled", WaiterConfig=PATIENT)
    assert cloud.scaling.describe_scalable_targets(**namespace)["ScalableTargets"] == []


@pytest.mark.parametrize(
    ("operation", "members", "code", "message"),
    [
        ("register_scalable_target", {"ServiceNamespace": "ecs"}, "NotImplemented", "ServiceNamespace is ecs"),
        (
            "register_scalable_target",
            {"ResourceId": "worker"},
            "ValidationException",
            "Unsupported service namespace, resource type or scalable dimension",
        ),
        ("register_scalable_target", {}, "ValidationException", "Function not found: arn:aws:lambda"),
        (
            "put_scheduled_action",
            {"ScheduledActionName": "a", "Schedule": "rate(1 hour)", "ScalableTargetAction": {"MinCapacity": 1}},
            "ObjectNotFoundException",
            "No scalable target registered for service namespace: lambda, resource ID: function:worker:live",
        ),
        (
            "put_scaling_policy",
            {"PolicyName": "p", "PolicyType": "StepScaling", "StepScalingPolicyConfiguration": {}},
            "ValidationException",
            "Step scaling policies are not supported",
        ),
    ],
)
def test_what_can_not_be_scaled_is_told(client, operation, members, code, message):
    told = refusal(lambda: getattr(client, operation)(**{**TARGET, **members}))

    assert told[0] == code
    assert message in told[1]


def test_bounds_and_schedules_are_checked(cloud):
    register = cloud.scaling.register_scalable_target
    assert refusal(lambda: register(**TARGET, MinCapacity=3, MaxCapacity=2)) == (
        "ValidationException",
        "Maximum capacity cannot be less than minimum capacity",
    )
    register(**TARGET, MinCapacity=0, MaxCapacity=2)
    told = refusal(
        lambda: cloud.scaling.put_scheduled_action(
            **TARGET, ScheduledActionName="a", Schedule="daily", ScalableTargetAction={"MinCapacity": 1}
        )
    )
    assert told == (
        "ValidationException",
        "daily is neither at(yyyy-mm-ddThh:mm:ss) nor rate(value unit) nor cron(fields).",
    )
