"""What every store promises about workers."""

from dataclasses import replace
from datetime import timedelta

import pytest

from crewserve.domain.errors import WorkerNotFound, WorkerStopped
from crewserve.domain.ids import WorkerName
from crewserve.domain.worker import (
    FORGOTTEN_AFTER,
    HEARTBEAT,
    PRESENT,
    SILENT_AFTER,
    WorkerQuery,
    WorkerState,
)
from crewserve.testing.builders import NOW, a_worker
from crewserve.testing.stores import ANN, BOB, LATER, OTHER, POEM, Store, add_running, done

TICK = timedelta(milliseconds=1)
SILENT = NOW + SILENT_AFTER + TICK
FORGOTTEN = NOW + FORGOTTEN_AFTER + TICK


async def known(store: Store, **query: object) -> list[WorkerName]:
    """Their names, in the order in which they are listed."""
    return [one.name for one in await store.workers(WorkerQuery(**query))]  # type: ignore[arg-type]


class WorkersContract:
    """Heartbeats, drains, and who is lost."""

    async def test_a_worker_is_what_it_last_said_of_itself(self, store: Store) -> None:
        first = a_worker(flows=(POEM, OTHER))
        assert await done(store.beat(first)) is False
        assert await store.worker(ANN) == first
        second = replace(first, memory_bytes=7, heartbeat_at=NOW + HEARTBEAT)
        await done(store.beat(second))
        assert await store.worker(ANN) == second
        assert list(await store.present()) == [ANN]

    async def test_what_it_holds_is_counted(self, store: Store) -> None:
        for name in (ANN, BOB):
            await done(store.beat(a_worker(name)))
        for _ in range(3):
            await add_running(store)
        found = await store.workers(WorkerQuery())
        assert {one.name: one.running for one in found} == {ANN: 3, BOB: 0}
        assert (await store.worker(ANN)).running == 3

    async def test_a_drain_is_told_with_each_heartbeat_until_it_is_taken_back(
        self, store: Store
    ) -> None:
        worker = a_worker()
        await done(store.beat(worker))
        await done(store.request_drain(ANN, LATER))
        drained = replace(worker, state=WorkerState.DRAINING, drain_requested_at=LATER)
        assert await store.worker(ANN) == drained
        assert [await done(store.beat(worker)) for _ in range(2)] == [True, True]
        assert await store.worker(ANN) == drained
        await done(store.request_drain(ANN, None))
        assert await store.worker(ANN) == worker
        assert await done(store.beat(worker)) is False

    async def test_whoever_is_silent_or_gone_is_lost_until_it_is_heard_again(
        self, store: Store
    ) -> None:
        silent, alive, gone = (a_worker(f"{name}:1:0:00") for name in ("s", "t", "u"))
        for worker in (silent, replace(alive, heartbeat_at=SILENT), gone):
            await done(store.beat(worker))
        await done(store.call_roll(gone=[gone.name], now=NOW + SILENT_AFTER))
        assert await known(store, states={WorkerState.LOST}) == [gone.name]
        await done(store.call_roll(gone=[], now=SILENT))
        assert await known(store, states={WorkerState.LOST}) == [silent.name, gone.name]
        assert list(await store.present()) == [alive.name]
        await done(store.beat(replace(silent, heartbeat_at=SILENT)))
        assert (await store.worker(silent.name)).state is WorkerState.ACTIVE

    async def test_a_drain_of_one_that_is_lost_waits_for_it(self, store: Store) -> None:
        await done(store.beat(a_worker()))
        await done(store.call_roll(gone=[ANN], now=NOW))
        await done(store.request_drain(ANN, LATER))
        assert (await store.worker(ANN)).state is WorkerState.LOST
        assert await done(store.beat(a_worker())) is True
        assert (await store.worker(ANN)).state is WorkerState.DRAINING

    async def test_one_that_stopped_neither_drains_nor_goes_on(self, store: Store) -> None:
        await done(store.beat(a_worker()))
        await done(store.leave(ANN, now=LATER))
        await done(store.call_roll(gone=[ANN], now=LATER))
        stopped = await store.worker(ANN)
        assert (stopped.state, stopped.heartbeat_at) == (WorkerState.STOPPED, LATER)
        for since in (LATER, None):
            with pytest.raises(WorkerStopped):
                await done(store.request_drain(ANN, since))
        assert list(await store.present()) == []

    async def test_who_left_is_forgotten_after_a_day(self, store: Store) -> None:
        for name in (ANN, BOB):
            await done(store.beat(a_worker(name)))
        await done(store.leave(ANN, now=NOW))
        await done(store.call_roll(gone=[BOB], now=NOW + FORGOTTEN_AFTER))
        assert await known(store) == [ANN, BOB]
        await done(store.call_roll(gone=[], now=FORGOTTEN))
        assert await known(store) == []

    async def test_nobody_is_asked_who_was_never_there(self, store: Store) -> None:
        with pytest.raises(WorkerNotFound):
            await store.worker(ANN)
        for since in (LATER, None):
            with pytest.raises(WorkerNotFound):
                await done(store.request_drain(ANN, since))
        await done(store.leave(ANN, now=NOW))
        assert await known(store) == []

    async def test_they_come_by_name_in_pages_that_meet_and_filters_combine(
        self, store: Store
    ) -> None:
        crowd = [
            a_worker(f"{n}:1:0:00", flows=(POEM, OTHER) if n % 2 else (OTHER,)) for n in range(5)
        ]
        for worker in reversed(crowd):
            await done(store.beat(worker))
        names = [worker.name for worker in crowd]
        first = await known(store, limit=3)
        assert [*first, *await known(store, limit=3, after=first[-1])] == names
        await done(store.request_drain(names[1], NOW))
        assert await known(store, flow=POEM) == [names[1], names[3]]
        assert await known(store, states={WorkerState.DRAINING}) == [names[1]]
        assert await known(store, flow=POEM, states={WorkerState.ACTIVE}) == [names[3]]
        assert await known(store, flow=POEM, states=PRESENT) == [names[1], names[3]]
        assert await known(store, flow=POEM, after=names[1], limit=1) == [names[3]]
