"""The declaration of Application Auto Scaling."""

from tule.services.application_autoscaling.operations import actions, policies, targets
from tule.services.application_autoscaling.scaling import start
from tule.services.declaration import Coordinate, Service

SERVICE = Service(
    name="application-autoscaling",
    operations={
        "RegisterScalableTarget": Coordinate(targets.register_scalable_target),
        "DescribeScalableTargets": Coordinate(targets.describe_scalable_targets),
        "DeregisterScalableTarget": Coordinate(targets.deregister_scalable_target),
        "DescribeScalingActivities": Coordinate(targets.describe_scaling_activities),
        "ListTagsForResource": Coordinate(targets.list_tags_for_resource),
        "TagResource": Coordinate(targets.tag_resource),
        "UntagResource": Coordinate(targets.untag_resource),
        "PutScalingPolicy": Coordinate(policies.put_scaling_policy),
        "DescribeScalingPolicies": Coordinate(policies.describe_scaling_policies),
        "DeleteScalingPolicy": Coordinate(policies.delete_scaling_policy),
        "PutScheduledAction": Coordinate(actions.put_scheduled_action),
        "DescribeScheduledActions": Coordinate(actions.describe_scheduled_actions),
        "DeleteScheduledAction": Coordinate(actions.delete_scheduled_action),
    },
    start=start,
    resources="tule.services.application_autoscaling.cfn",
    coverage={
        "RegisterScalableTarget": "lambda:function:ProvisionedConcurrency. Other dimensions: 501.",
        "PutScalingPolicy": "Target tracking of LambdaProvisionedConcurrencyUtilization. Customized metrics: 501.",
    },
)
