"""Errors arrive as what they were."""

import inspect
import json
from datetime import timedelta
from typing import Any

import pytest

from crewserve.domain import errors
from crewserve.domain.access_errors import TooManyRequests
from crewserve.domain.errors import CrewserveError, FieldError
from crewserve.domain.status import Status
from crewserve.leader.errors import dump_error, load_error
from crewserve.leader.wire import to_json
from crewserve.testing.builders import a_new_id

VALUES: dict[str, Any] = {
    "execution_id": a_new_id(),
    "status": Status.RUNNING,
    "current": Status.RUNNING,
    "target": Status.PENDING,
    "errors": (FieldError("a.b", "no \ud800", "missing"),),
    "known": ["one"],
    "retry_after": timedelta(seconds=1.5),
    "position": 3,
    "reasons": {"store": "gone"},
    "most": 5,
}
"""By the names of parameters; those of text need none."""


def made(kind: Any) -> CrewserveError:
    parameters = list(inspect.signature(kind.__init__).parameters.values())[1:]
    keyed = {one.name for one in parameters if one.kind is one.KEYWORD_ONLY}
    values = {one.name: VALUES.get(one.name, one.name) for one in parameters}
    positional = [value for name, value in values.items() if name not in keyed]
    error: CrewserveError = kind(*positional, **{name: values[name] for name in keyed})
    return error


SENT = [kind for kind in CrewserveError.__subclasses__() if kind is not TooManyRequests]
"""Limits are told by the gate, before a leader is asked anything."""


@pytest.mark.parametrize("kind", SENT)
def test_every_error_arrives_as_it_was(kind: type[CrewserveError]) -> None:
    sent = made(kind)
    arrived = load_error(json.loads(to_json(dump_error(sent))))
    assert type(arrived) is kind
    assert str(arrived) == str(sent)
    assert {name: str(fact) for name, fact in vars(arrived).items()} == {
        name: str(list(fact) if isinstance(fact, tuple) else fact)
        for name, fact in vars(sent).items()
    }


def test_of_what_nobody_raised_on_purpose_nothing_is_told() -> None:
    arrived = load_error(json.loads(to_json(dump_error(ValueError("secret")))))
    assert not isinstance(arrived, errors.CrewserveError)
    assert "secret" not in str(arrived)
