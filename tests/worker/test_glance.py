"""What is asked often is looked at seldom."""

from crewserve.worker.glance import Glance


def test_a_look_is_remembered_for_its_time_and_no_longer() -> None:
    times, looks = iter([10.0, 10.5, 11.0, 11.9]), iter([True, False])
    glance = Glance(lambda: next(looks), 1.0, lambda: next(times))
    assert [glance() for _ in range(4)] == [True, True, False, False]
