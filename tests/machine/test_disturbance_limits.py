import pytest

from studylib.machine.disturbance_limits import REMEDIES, Limits, why_invalid


@pytest.mark.parametrize(
    ("name", "allowed", "too_much", "words"),
    [
        ("steal_share", 0.2, 0.21, "other virtual machines took 21% of the processor time; the limit is 20% (measure at a quieter hour"),
        ("throttle_events", 0, 1, "heat slowed the processor (1 throttle events; the limit is 0) (cool it, or fix a lower clock)"),
        ("cgroup_throttled_share", 0.05, 0.5, "stopped the process in 50% of its periods; the limit is 5% (raise the quota"),
        ("frequency_drop_share", 0.2, 0.4, "the clock fell by 40% while it was measured; the limit is 20% (use the governor"),
        ("engines_built", 0, 2, "built in this process, whose start and memory show it (built: 2; the limit is 0) (nothing to do"),
    ],
)
def test_each_limit_says_cause_and_remedy(name, allowed, too_much, words):
    assert why_invalid({name: allowed}, Limits()) == ""
    reason = why_invalid({name: too_much}, Limits())
    assert reason.startswith("disturbed: ")
    assert words in reason
    assert REMEDIES[name] in reason
    assert why_invalid({name: too_much}, Limits(**{name: too_much})) == ""


def test_all_that_happened_is_said():
    assert why_invalid({"steal_share": 0.9, "throttle_events": 2}, Limits()).count("; the limit is") == 2


def test_what_was_not_read_limits_nothing():
    assert why_invalid({}, Limits()) == ""
