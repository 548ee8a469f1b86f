"""A template process with what lives and ends with it; here its children do nothing."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import count

import pytest

from crewserve.crew import generation as generations
from crewserve.crew.generation import Generation, Lifespan
from tests.support.generations import SECONDS, a_generation
from tests.support.processes import is_alive


@asynccontextmanager
async def serving(
    lifespan: Lifespan,
) -> "AsyncIterator[tuple[Generation, asyncio.Task[bool]]]":
    generation = await a_generation(lifespan)
    served = asyncio.create_task(generation.serve())
    await asyncio.sleep(0)  # one that has not begun would never tidy up
    try:
        async with asyncio.timeout(SECONDS):
            yield generation, served
    finally:
        served.cancel()
        await asyncio.wait([served])
        assert not is_alive(generation.template.process.pid)


async def test_it_ends_when_it_is_retired_and_nobody_uses_it_any_more() -> None:
    async with serving(Lifespan()) as (generation, served):
        with generation.used(), generation.used():
            generation.retire()
            await asyncio.wait([served], timeout=0.05)
            assert not served.done()
            assert generation.pool.room == 0
        assert await served
        assert generation.has_ended


async def test_without_being_retired_it_goes_on_though_nobody_uses_it() -> None:
    async with serving(Lifespan()) as (generation, served):
        with generation.used():
            pass
        await asyncio.wait([served], timeout=0.05)
        assert not served.done()


async def test_a_crash_is_no_retirement() -> None:
    async with serving(Lifespan()) as (generation, served):
        generation.template.kill()
        assert not await served
        assert generation.has_ended


async def test_it_is_worn_after_so_many_executions() -> None:
    async with serving(Lifespan(executions=2)) as (generation, _):
        generation.count_execution()
        assert not generation.worn.is_set()
        generation.count_execution()
        assert generation.worn.is_set()


async def test_it_is_worn_when_its_memory_has_grown(monkeypatch: pytest.MonkeyPatch) -> None:
    sizes = iter([1000, 1100, 1101, *[1101] * 10_000])
    monkeypatch.setattr(generations, "TIDY_SECONDS", 0.001)
    monkeypatch.setattr(generations, "resident_bytes", lambda _: next(sizes))
    async with serving(Lifespan(growth_bytes=100)) as (generation, _):
        await generation.worn.wait()
        assert next(sizes) == 1101


async def test_what_does_not_grow_is_not_worn(monkeypatch: pytest.MonkeyPatch) -> None:
    looks = count()
    monkeypatch.setattr(generations, "TIDY_SECONDS", 0.001)
    monkeypatch.setattr(generations, "resident_bytes", lambda _: 0 * next(looks))
    async with serving(Lifespan(growth_bytes=1)) as (generation, _):
        while next(looks) < 20:
            await asyncio.sleep(0.001)
        assert not generation.worn.is_set()
