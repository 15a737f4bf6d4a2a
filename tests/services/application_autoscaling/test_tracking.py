"""What minutes of utilization say, by table."""

import pytest

from tule.services.application_autoscaling.models import ScalingPolicy
from tule.services.application_autoscaling.tracking import Series


def policy(target=0.5, **changes):
    return ScalingPolicy(name="p", resource="function:f:1", id="i", created_ms=0, target_value=target, **changes)


def series(*minutes):
    made = Series()
    for peak in minutes:
        made.look(peak)
        made.close(1, 0.0)
    return made


@pytest.mark.parametrize(
    ("minutes", "capacity", "wanted"),
    [
        ([1.0] * 3, 1, 2),
        ([1.0] * 3, 10, 20),
        ([0.9, 0.8, 0.6], 10, 12),
        ([1.0] * 2, 10, None),  # three minutes, not two
        ([1.0, 0.5, 1.0], 10, None),  # one of them at the target
        ([0.5] * 15, 10, None),
        ([0.46] * 15, 10, None),  # within a tenth of the target
        ([0.2] * 15, 10, 4),
        ([0.0] * 15, 10, 0),
        ([0.2] * 14, 10, None),  # fifteen minutes, not fourteen
        ([0.2] * 14 + [0.5], 10, None),
        ([1.0] + [0.1] * 15, 10, 2),  # what was before does not count
    ],
)
def test_capacity_that_would_meet_the_target(minutes, capacity, wanted):
    decision = series(*minutes).decide(policy(), capacity, 0)

    assert (decision.capacity if decision else None) == wanted


def test_moments_of_a_minute_count_by_their_largest():
    made = Series()
    for _ in range(3):
        for utilization in (0.1, 1.0, 0.2):
            made.look(utilization)
        made.close(1, 0.0)

    assert made.decide(policy(), 2, 0).capacity == 4


def test_minutes_that_passed_at_once_are_as_many():
    made = Series()
    made.look(1.0)
    made.close(3, 1.0)

    assert made.decide(policy(), 2, 0).capacity == 4


def test_a_cooldown_holds_the_next_change_of_the_same_kind_back():
    made = series(*[1.0] * 3)
    made.scaled(out=True, now_ms=1_000)
    assert made.decide(policy(), 4, 2_000) is None  # the minutes before say nothing any more
    for _ in range(3):
        made.look(1.0)
        made.close(1, 0.0)

    assert made.decide(policy(out_cooldown_s=600), 4, 600_999) is None
    assert made.decide(policy(out_cooldown_s=600), 4, 601_000).capacity == 8


def test_scaling_in_can_be_left_out():
    assert series(*[0.1] * 15).decide(policy(disable_scale_in=True), 10, 0) is None
