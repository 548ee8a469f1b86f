"""What every store promises to clients that ask twice."""

import asyncio
from dataclasses import replace
from datetime import timedelta

import pytest

from crewserve.domain.errors import KeyTaken
from crewserve.domain.idempotency import KEPT, IdempotencyKey, KeyedStart
from crewserve.domain.query import ExecutionQuery
from crewserve.testing.builders import NOW, a_step, an_execution
from crewserve.testing.stores import OTHER, Store, done

KEY = IdempotencyKey(value="order 7", fingerprint="0" * 64)


class IdempotencyContract:
    """Starts with a key."""

    async def test_a_key_tells_what_it_started_even_after_that_was_deleted(
        self, store: Store
    ) -> None:
        execution = an_execution(flow=OTHER)
        assert await store.started_with(KEY) is None
        await done(store.add(execution, [a_step()], KEY))
        await done(store.delete(execution.id))
        assert await store.started_with(replace(KEY, fingerprint="other")) == KeyedStart(
            fingerprint=KEY.fingerprint, execution=execution.id, flow=OTHER, created_at=NOW
        )

    async def test_of_many_with_one_key_one_is_added(self, store: Store) -> None:
        executions = [an_execution() for _ in range(5)]
        adding = [done(store.add(execution, key=KEY)) for execution in executions]
        unkeyed = an_execution()
        results = await asyncio.gather(*adding, done(store.add(unkeyed)), return_exceptions=True)
        assert [isinstance(result, KeyTaken) for result in results].count(True) == 4
        kept = await store.started_with(KEY)
        assert kept is not None
        found = {execution.id for execution in await store.page(ExecutionQuery())}
        assert found == {kept.execution, unkeyed.id}

    async def test_keys_of_different_scopes_never_meet(self, store: Store) -> None:
        for scope in ("", "ann", "bob"):
            await done(store.add(an_execution(), key=replace(KEY, scope=scope)))
        assert len(await store.page(ExecutionQuery())) == 3

    async def test_a_key_is_free_again_when_its_time_is_over(self, store: Store) -> None:
        await done(store.add(an_execution(), key=KEY))
        early = an_execution(created_at=NOW + KEPT - timedelta(seconds=1))
        with pytest.raises(KeyTaken):
            await done(store.add(early, key=KEY))
        late = an_execution(created_at=NOW + KEPT)
        await done(store.add(late, key=replace(KEY, fingerprint="other")))
        kept = await store.started_with(KEY)
        assert kept is not None
        assert (kept.execution, kept.fingerprint) == (late.id, "other")

    async def test_later_starts_remove_keys_whose_time_is_over(self, store: Store) -> None:
        old = [replace(KEY, value=f"old {number}") for number in range(3)]
        for key in old:
            await done(store.add(an_execution(), key=key))
        await done(store.add(an_execution(created_at=NOW + KEPT), key=KEY))
        assert [await store.started_with(key) for key in old] == [None] * 3
        assert await store.started_with(KEY) is not None
