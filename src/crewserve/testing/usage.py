"""What every store keeps of what executions use."""

from datetime import timedelta
from typing import Any

import pytest

from crewserve.domain.errors import StaleExecution
from crewserve.domain.event_log import Entry
from crewserve.domain.execution import Execution, Returned
from crewserve.domain.usage import Spender, Spent, Usage, Use
from crewserve.testing.builders import NOW, a_new_id, an_entry, an_execution
from crewserve.testing.stores import LATER, Store, add_running, claim, done, held_by

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
