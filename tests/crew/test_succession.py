"""Which of a host's template processes executions begin in."""

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from crewserve.crew import host as hosts
from crewserve.crew.generation import Generation, Lifespan
from crewserve.crew.host import ForkingHost
from crewserve.crew.template_link import TemplateDied
from tests.support.generations import SECONDS, a_generation, a_plan
from tests.support.processes import is_alive

ONE = Lifespan(executions=1)


@dataclass(slots=True, eq=False)
class Host(ForkingHost):
    """Its templates have no CrewAI; some cannot be started."""

    refusals: int = 0
    made: list[Generation] = field(default_factory=list)

    async def _start_generation(self) -> Generation:
        if self.made and self.refusals > 0:
            self.refusals -= 1
            raise TemplateDied("no")
        generation = await a_generation(ONE)
        self.made.append(generation)
        self._serving[generation] = asyncio.create_task(self._serve(generation))
        return generation

    @property
    def current(self) -> Generation | None:
        return self._current

    async def until(self, probe: Callable[[], Any]) -> None:
        async with asyncio.timeout(SECONDS):
            while not probe():
                await asyncio.sleep(0.005)


@pytest.fixture
async def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Host]:
    """One in which executions can begin."""
    monkeypatch.setattr(hosts, "RESTART_SECONDS", (0.01,))
    found = Host(a_plan(tmp_path), on_room=lambda: None, on_described=lambda _: None)
    await found.start()
    await found.until(lambda: found.current)
    yield found
    await found.close()
    assert not any(is_alive(one.template.process.pid) for one in found.made)


async def test_a_successor_takes_over_when_it_can_answer(host: Host) -> None:
    first = host.made[0]
    with first.used():
        first.count_execution()
        await host.until(lambda: len(host.made) == 2)
        await asyncio.sleep(0.05)
        assert host.current is first
        host.made[1].validator.ready.set()
        await host.until(lambda: host.current is host.made[1])
        assert not first.has_ended
    await host.until(lambda: first.has_ended)


async def test_a_successor_that_cannot_be_started_is_tried_again_and_the_first_goes_on(
    host: Host,
) -> None:
    host.refusals = 3
    host.made[0].count_execution()
    await host.until(lambda: len(host.made) == 2)
    assert (host.refusals, host.current) == (0, host.made[0])
    assert not host.made[0].has_ended


async def test_a_successor_that_dies_before_it_took_over_is_replaced(host: Host) -> None:
    first = host.made[0]
    first.count_execution()
    await host.until(lambda: len(host.made) == 2)
    host.made[1].template.kill()
    await host.until(lambda: len(host.made) == 3)
    assert (host.current, first.has_ended) == (first, False)


async def test_when_the_first_dies_meanwhile_its_successor_takes_over_at_once(host: Host) -> None:
    first = host.made[0]
    first.count_execution()
    await host.until(lambda: len(host.made) == 2)
    first.template.kill()
    await host.until(lambda: host.current is host.made[1])


async def test_after_a_crash_another_one_is_started(host: Host) -> None:
    host.made[0].template.kill()
    await host.until(lambda: len(host.made) == 2 and host.current is host.made[1])
