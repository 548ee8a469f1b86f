"""Whether everything that requests need is there."""

import asyncio
from datetime import timedelta

import pytest

from crewserve.application import health
from crewserve.application.health import Readiness
from crewserve.domain.errors import NotReady, ServerNotReady, StorageUnavailable


async def fine() -> None:
    pass


async def test_what_is_wrong_is_said_of_each_part() -> None:
    async def broken() -> None:
        raise StorageUnavailable

    async def loading() -> None:
        raise NotReady("still loading", retry_after=timedelta(seconds=1))

    with pytest.raises(ServerNotReady, match=r"cannot be used now.*still loading") as caught:
        await Readiness({"store": broken, "flows": loading, "broker": fine}).check()
    assert caught.value.reasons.keys() == {"store", "flows"}


async def test_everybody_who_asks_within_a_second_gets_the_same_answer(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked = []

    async def count() -> None:
        asked.append(1)

    readiness = Readiness({"store": count})
    await asyncio.gather(*(readiness.check() for _ in range(5)))
    assert len(asked) == 1
    monkeypatch.setattr(health, "KEPT_SECONDS", 0)
    readiness = Readiness({"store": count})
    assert [await readiness.check() for _ in range(2)] == [["store"], ["store"]]
    assert len(asked) == 3


async def test_a_part_that_hangs_is_waited_for_once_and_not_asked_again_meanwhile(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(health, "BOUND_SECONDS", 0.05)
    monkeypatch.setattr(health, "KEPT_SECONDS", 0)
    asked, answer = [], asyncio.Event()

    async def hang() -> None:
        asked.append(1)
        await answer.wait()

    readiness = Readiness({"store": hang, "flows": fine})
    for _ in range(3):
        with pytest.raises(ServerNotReady, match=r"store: It has not answered for 0\.05 s"):
            await readiness.check()
    assert len(asked) == 1
    answer.set()
    assert await readiness.check() == ["store", "flows"]
