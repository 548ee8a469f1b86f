"""Every pair of statuses, so that adding one forces a decision."""

from itertools import product

import pytest

from crewserve.domain.status import TERMINAL, TRANSITIONS, Status

DIAGRAM = {
    "pending": "running failed cancelled",
    "running": "pending waiting completed failed cancelled",
    "waiting": "pending failed cancelled",
    "completed": "",
    "failed": "",
    "cancelled": "",
}


@pytest.mark.parametrize(("current", "target"), list(product(Status, Status)))
def test_only_the_drawn_arrows_exist(current: Status, target: Status) -> None:
    assert (target in TRANSITIONS[current]) == (target in DIAGRAM[current].split())


def test_the_last_three_never_change_again() -> None:
    assert TERMINAL == {Status.COMPLETED, Status.FAILED, Status.CANCELLED}


def test_the_specification_s_words_are_kept() -> None:
    assert {"pending", "running", "completed", "failed"} <= {status.value for status in Status}
