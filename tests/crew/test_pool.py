"""Which children are free."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any, cast

import pytest

from crewserve.crew import pool as pools
from crewserve.crew.pool import Pool
from crewserve.crew.template_link import TemplateLink
from crewserve.domain.ids import FlowName, Tenant

POEM = FlowName("poem_flow")


@dataclass(eq=False)
class Child:
    """Says hello at once, or dies."""

    number: int
    idle_since: float = 0.0
    lives: bool = True
    closed: bool = False

    def close(self) -> None:
        self.closed = True

    async def hello(self) -> bool:
        await asyncio.sleep(0)
        return self.lives


@dataclass
class Template:
    """Forks as often as it is asked."""

    forked: list[Child] = field(default_factory=list)
    lives: bool = True
    current: int = 0
    """The number of the first child that sees the machine as it is."""

    def is_outdated(self, child: Child) -> bool:
        return child.number < self.current

    async def fork(self) -> Child:
        self.forked.append(Child(len(self.forked), lives=self.lives))
        return self.forked[-1]


@pytest.fixture
async def pool(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Pool]:
    monkeypatch.setattr(pools, "REPLACE_SECONDS", 0.001)
    template: Any = Template()
    found = Pool(cast("TemplateLink", template), spares=4, on_room=lambda: None)
    await found.refill()
    await filled(found, 4)
    yield found
    found.close()


async def filled(pool: Pool, count: int) -> None:
    async with asyncio.timeout(5):
        while pool.room < count:
            await asyncio.sleep(0.001)


async def test_spares_that_die_unused_are_replaced(pool: Pool) -> None:
    for child in list(pool.fresh):
        pool.forget(child)
    assert pool.room == 0
    await filled(pool, 4)


async def test_a_used_child_serves_its_flow_again_and_is_forgotten_when_it_dies(pool: Pool) -> None:
    child = await pool.acquire(POEM)
    pool.release(child, POEM)
    assert await pool.acquire(POEM) is child
    pool.release(child, POEM)
    pool.forget(child)
    assert await pool.acquire(POEM) is not child


async def test_children_that_cannot_see_what_is_new_are_not_used(pool: Pool) -> None:
    template = cast("Template", pool.template)
    used = await pool.acquire(POEM)
    pool.release(used, POEM)
    await filled(pool, 5)
    template.current = len(template.forked)
    assert (await pool.acquire(POEM)).number == template.current
    assert all(child.closed for child in template.forked[:-1])


async def test_a_closed_pool_asks_for_nothing(pool: Pool) -> None:
    pool.close()
    before = pool.room
    pool.forget(pool.fresh[0])
    await asyncio.sleep(0.02)
    assert pool.room == before - 1


async def test_spares_that_die_at_birth_are_not_replaced_in_haste(pool: Pool) -> None:
    template = cast("Template", pool.template)
    template.lives = False
    pool.forget(pool.fresh[0])
    async with asyncio.timeout(5):
        while len(template.forked) == 4:
            await asyncio.sleep(0.001)
    pool.fresh.pop()
    for _ in range(100):
        await asyncio.sleep(0)
    assert len(template.forked) == 5


async def test_a_retired_pool_lets_go_of_all_that_is_idle_or_becomes_so(pool: Pool) -> None:
    template = cast("Template", pool.template)
    used, busy = await pool.acquire(POEM), await pool.acquire(POEM)
    pool.release(used, POEM)
    refilling = asyncio.create_task(pool.refill())
    pool.retire()
    pool.release(busy, POEM)
    await refilling
    assert pool.room == 0
    assert [child for child in template.forked if not child.closed] == []


async def test_what_still_begins_in_a_retired_pool_gets_a_new_child(pool: Pool) -> None:
    template = cast("Template", pool.template)
    pool.retire()
    assert await pool.acquire(POEM) is cast("Any", template.forked[-1])
    assert pool.room == 0


async def test_a_used_child_is_kept_for_the_tenant_that_used_it(pool: Pool) -> None:
    acme, rival = Tenant("acme"), Tenant("rival")
    child = await pool.acquire(POEM, acme)
    pool.release(child, POEM, acme)
    assert await pool.acquire(POEM, rival) is not child
    assert await pool.acquire(POEM) is not child
    assert await pool.acquire(POEM, acme) is child
