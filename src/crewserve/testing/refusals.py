"""What every store says of data that it can never hold."""

from typing import Any, Final

import pytest

from crewserve.domain.errors import ValueRefused
from crewserve.domain.execution import Returned
from crewserve.domain.query import ExecutionQuery
from crewserve.domain.status import Status
from crewserve.testing.builders import NOW, a_step, an_execution
from crewserve.testing.stores import Store, done, held_by


def _nested(depth: int) -> Any:
    value: list[Any] = []
    for _ in range(depth):
        value = [value]
    return value


_VALUES: Final = {
    "not a number": float("nan"),
    "infinity": float("-inf"),
    "5,000 digits": 10**4999,
    "bytes": b"x",
    "a set": {1},
    "too deep": _nested(5000),
}


with_no_json: Final = pytest.mark.parametrize("value", _VALUES.values(), ids=_VALUES)
"""Marks a test for each kind of *value* that is no JSON."""


class RefusalContract:
    """It is told apart from a database that is away, and nothing of the write is kept."""

    @with_no_json
    async def test_inputs_that_cannot_be_held_are_refused(self, store: Store, value: Any) -> None:
        with pytest.raises(ValueRefused):
            await done(store.add(an_execution(inputs={"value": value})))
        with pytest.raises(ValueRefused):
            await done(store.add(an_execution(), [a_step(state={"value": value})]))
        assert list(await store.page(ExecutionQuery())) == []

    @with_no_json
    async def test_a_result_that_cannot_be_held_is_refused(self, store: Store, value: Any) -> None:
        running = an_execution(Status.RUNNING)
        await done(store.add(running))
        with pytest.raises(ValueRefused):
            await done(store.change(running.id, Returned([value]), now=NOW))
        assert await store.get(running.id) == running

    @with_no_json
    async def test_a_step_that_cannot_be_held_is_refused(self, store: Store, value: Any) -> None:
        running = an_execution(Status.RUNNING)
        await done(store.add(running))
        with pytest.raises(ValueRefused):
            await done(store.record(held_by(running), a_step(result=value)))
        assert list(await store.steps(running.id)) == []
