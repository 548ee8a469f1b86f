"""Whatever a database refuses, the record says what happened."""

import pytest

from crewserve.application.refused import event_instead, step_instead
from crewserve.domain.errors import ValueRefused
from crewserve.domain.execution import Cancelled, Raised, Returned
from crewserve.domain.failure import Failure, FailureCode
from crewserve.testing.builders import a_step

REFUSAL = ValueRefused("no \N{SHORTCAKE} in LATIN1")


def test_a_result_becomes_a_failure_that_says_why() -> None:
    instead = event_instead(Returned("\N{SHORTCAKE}"), REFUSAL)
    assert isinstance(instead, Raised)
    assert instead.failure.code is FailureCode.INVALID_OUTPUT
    assert instead.failure.message == (
        "The flow's result cannot be stored: no \\U0001f370 in LATIN1"
    )


def test_a_failure_stays_what_it_was_in_ascii() -> None:
    failure = Failure(
        code=FailureCode.FLOW_ERROR, message="süß \N{SHORTCAKE}", type="Größe", traceback="é"
    )
    instead = event_instead(Raised(failure, jitter=0.5), REFUSAL)
    assert instead == Raised(
        Failure(
            code=FailureCode.FLOW_ERROR,
            message="s\\xfc\\xdf \\U0001f370",
            type="Gr\\xf6\\xdfe",
            traceback="\\xe9",
        ),
        jitter=0.5,
    )


def test_what_holds_no_data_was_refused_for_another_reason() -> None:
    with pytest.raises(ValueRefused):
        event_instead(Cancelled(), REFUSAL)


def test_a_step_keeps_its_place_without_its_data() -> None:
    instead = step_instead(a_step(3, name="größe"), REFUSAL)
    assert (instead.position, instead.name, instead.result, instead.state) == (
        3,
        "gr\\xf6\\xdfe",
        None,
        None,
    )
    assert instead.problem == "It cannot be stored: no \\U0001f370 in LATIN1"
