"""What every store keeps of what executions use."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from crewserve.domain.errors import StaleExecution
from crewserve.domain.event_log import Entry
from crewserve.domain.execution import Execution, Returned
from crewserve.domain.ids import ExecutionId
from crewserve.domain.labels import Label, Labels
from crewserve.domain.query import ExecutionFilter, ExecutionQuery, Order
from crewserve.domain.usage import Spender, Spent, Usage, UsageGrouping, Use
from crewserve.testing.builders import NOW, a_new_id, an_entry, an_execution
from crewserve.testing.reading import created_at
from crewserve.testing.stores import (
    LATER,
    OTHER,
    POEM,
    Store,
    add_running,
    claim,
    done,
    held_by,
    place_of,
)

A_CALL = Usage(
    model_calls=1,
    prompt_tokens=100,
    cached_tokens=40,
    completion_tokens=20,
    reasoning_tokens=5,
    cost=3_000_000_000_000,
)
"""Whose cost has more than 32 bits."""


def a_use(
    usage: Usage = A_CALL, *, step: str | None = "write", model: str = "a/b", **changes: Any
) -> Entry:
    """An entry that says so."""
    used = Use(changes.pop("agent", "poet"), model, usage)
    return an_entry("llm_call_completed", step=step, used=used, **changes)


async def spend(store: Store, running: Execution, *entries: Entry) -> None:
    """Tell of it."""
    await done(store.append(held_by(running), entries))


NIGHTLY = Label("tag", "nightly")


async def spending(store: Store, costs: list[int | None], models: list[str]) -> list[ExecutionId]:
    """An execution for each, the first and third with a label."""
    ids = []
    for number, (cost, model) in enumerate(zip(costs, models, strict=True)):
        labels = Labels(tags=("nightly",)) if number in (0, 2) else Labels()
        running = await add_running(store, labels=labels)
        await spend(store, running, a_use(Usage(model_calls=1, cost=cost), model=model))
        ids.append(running.id)
    return ids


class UsageContract:
    """Calls, tokens and money of each execution."""

    async def test_who_used_nothing_has_no_usage(self, store: Store) -> None:
        running = await add_running(store)
        await spend(store, running, an_entry())
        assert (await store.get(running.id)).usage is None
        assert list(await store.usage(running.id)) == []
        assert list(await store.usage(a_new_id())) == []

    async def test_it_is_added_up_by_step_agent_and_model(self, store: Store) -> None:
        running, other = await add_running(store), await add_running(store)
        a_tool = Usage(tool_calls=2)
        await spend(store, running, a_use(), a_use(), a_use(step="tell#2"))
        await spend(store, running, a_use(), a_use(a_tool, model="", step=None, agent=""))
        await spend(store, other, a_use(Usage(prompt_tokens=1)))
        assert list(await store.usage(running.id)) == [
            Spent(Spender("", "", ""), a_tool),
            Spent(Spender("tell#2", "poet", "a/b"), A_CALL),
            Spent(Spender("write", "poet", "a/b"), A_CALL + A_CALL + A_CALL),
        ]
        total = A_CALL + A_CALL + A_CALL + A_CALL + a_tool
        assert (await store.get(running.id)).usage == total
        assert (await store.get(other.id)).usage == Usage(prompt_tokens=1)

    @pytest.mark.parametrize("first", [0, 1])
    async def test_a_cost_that_is_not_known_stays_so(self, store: Store, first: int) -> None:
        running = await add_running(store)
        unpriced = Usage(prompt_tokens=7, cost=None)
        uses = [a_use(), a_use(unpriced, model="un/known")]
        await spend(store, running, uses[first])
        await spend(store, running, uses[1 - first], a_use())
        found = await store.get(running.id)
        assert found.usage == A_CALL + unpriced + A_CALL
        costs = {one.by.model: one.usage.cost for one in await store.usage(running.id)}
        assert costs == {"a/b": 2 * 3_000_000_000_000, "un/known": None}

    async def test_another_attempt_adds_to_it_and_has_seen_it(self, store: Store) -> None:
        first = await add_running(store, max_attempts=2)
        await spend(store, first, a_use())
        await done(store.reap(lost=[], limit=10, now=LATER))
        [second] = await claim(store, now=LATER, lease_expires_at=LATER + timedelta(seconds=9))
        assert second.usage == A_CALL
        await spend(store, second, a_use())
        with pytest.raises(StaleExecution):
            await spend(store, first, a_use())
        ended = await done(store.change(second.id, Returned(1), now=LATER))
        assert ended.usage == A_CALL + A_CALL
        assert await store.get(first.id) == ended

    async def test_a_write_whose_answer_was_lost_is_not_counted_twice(self, store: Store) -> None:
        running = await add_running(store)
        entries = [a_use(id=name) for name in "abc"]
        await done(store.append(held_by(running), entries[:2]))
        await done(store.append(held_by(running), entries, again=True))
        assert (await store.get(running.id)).usage == A_CALL + A_CALL + A_CALL

    async def test_it_goes_with_its_execution(self, store: Store) -> None:
        running = await add_running(store)
        await spend(store, running, a_use())
        await done(store.change(running.id, Returned(1), now=NOW))
        await done(store.delete(running.id))
        assert list(await store.usage(running.id)) == []
        await done(store.add(an_execution(id=running.id)))
        assert (await store.get(running.id)).usage is None

    async def test_pages_can_be_in_the_order_of_costs(self, store: Store) -> None:
        executions = await spending(store, [5, None, 7, 5, 0], ["a/b", "a/b", "c/d", "c/d", "a/b"])
        for order, expected in (
            (Order.COSTLIEST, [2, 3, 0, 4]),
            (Order.CHEAPEST, [4, 0, 3, 2]),
        ):
            found, page = list[Execution](), await store.page(ExecutionQuery(order=order, limit=1))
            while page:
                found += page
                query = ExecutionQuery(order=order, limit=1, after=place_of(page[-1]))
                page = await store.page(query)
            assert [one.id for one in found] == [executions[number] for number in expected]
        query = ExecutionQuery(order=Order.COSTLIEST, flow=POEM, labels=frozenset({NIGHTLY}))
        assert [one.id for one in await store.page(query)] == [executions[2], executions[0]]

    async def test_filters_by_cost_and_model(self, store: Store) -> None:
        executions = await spending(store, [5, None, 7, 5, 0], ["a/b", "a/b", "c/d", "c/d", "a/b"])
        for filters, expected in (
            ({"min_cost": 5}, [3, 2, 0]),
            ({"max_cost": 5}, [4, 3, 0]),
            ({"min_cost": 6, "max_cost": 7}, [2]),
            ({"min_cost": 0}, [4, 3, 2, 0]),
            ({"model": "a/b"}, [4, 1, 0]),
            ({"model": "c/d", "max_cost": 5}, [3]),
            ({"model": "no/ne"}, []),
        ):
            found = await store.page(ExecutionQuery(**filters))
            assert [one.id for one in found] == [executions[number] for number in expected], filters
            counts = await store.count(ExecutionFilter(**filters), [])
            assert sum(one.number for one in counts) == len(expected)

    async def test_usage_is_added_up_over_executions(self, store: Store) -> None:
        await spending(store, [5, None, 7], ["a/b", "a/b", "c/d"])
        later = created_at(NOW + timedelta(days=1))
        await done(store.add(replace(later, flow=OTHER)))
        [running] = await claim(store, flows=[OTHER])
        await spend(store, running, a_use(Usage(tool_calls=1), model=""), a_use(step="x"))
        everything = ExecutionFilter()
        [total] = await store.usage_by(everything, [], 9)
        assert (total.of, total.executions, total.usage.model_calls) == ((), 4, 4)
        assert (total.usage.cost, total.usage.tool_calls) == (None, 1)
        by = [UsageGrouping.DAY, UsageGrouping.MODEL]
        groups = await store.usage_by(everything, by, 9)
        assert [(one.of, one.executions, one.usage.cost) for one in groups] == [
            (("2026-01-02", "a/b"), 1, A_CALL.cost),
            (("2026-01-02", ""), 1, 0),
            (("2026-01-01", "a/b"), 2, None),
            (("2026-01-01", "c/d"), 1, 7),
        ]
        assert await store.usage_by(everything, by, 2) == groups[:2]
        assert [one.of for one in await store.usage_by(everything, [UsageGrouping.AGENT], 9)] == [
            ("poet",)
        ]

    async def test_usage_over_executions_is_narrowed_down(self, store: Store) -> None:
        executions = await spending(store, [5, 6, 7], ["a/b", "a/b", "c/d"])
        await spend(store, await store.get(executions[0]), a_use(Usage(cost=100), model="c/d"))
        by_flow = [UsageGrouping.FLOW]
        for filters, expected in (
            ({"model": "c/d"}, 107),
            ({"flow": OTHER}, None),
            ({"created_from": NOW}, 118),
            ({"created_before": NOW}, None),
            ({"labels": frozenset({NIGHTLY})}, 112),
            ({"min_cost": 7}, 112),
        ):
            found = await store.usage_by(ExecutionFilter(**filters), by_flow, 9)
            costs = [(one.of, one.usage.cost) for one in found]
            assert costs == ([((POEM,), expected)] if expected else []), filters
        [nothing] = await store.usage_by(ExecutionFilter(flow=OTHER), [], 9)
        assert (nothing.executions, nothing.usage) == (0, Usage())
