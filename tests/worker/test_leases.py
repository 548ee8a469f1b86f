"""What the watchdog is told, and when nothing new may begin."""

from concurrent.futures import Future
from datetime import timedelta
from typing import Any

from crewserve.domain.errors import StorageUnavailable
from crewserve.domain.ids import WorkerName
from crewserve.domain.status import Status
from crewserve.ports import Held
from crewserve.storage.memory import MemoryStore
from crewserve.testing.builders import NOW, an_execution
from crewserve.testing.fakes import FrozenClock
from crewserve.worker.leases import LIVE_SHARE, LeaseKeeper, boottime

ANN = WorkerName("ann:1:0:00")
LEASE = timedelta(seconds=30)
LIFE = LIVE_SHARE * 30


class Unreachable(MemoryStore):
    def renew(self, *args: Any, **options: Any) -> Future[Any]:
        future: Future[Any] = Future()
        future.set_exception(StorageUnavailable())
        return future


class Watched(LeaseKeeper):
    """Notes what the watchdog is told."""

    def __init__(self, store: MemoryStore) -> None:
        self.told: list[float] = []
        super().__init__(store, ANN, LEASE, self.told.append, FrozenClock())


def claimed(store: MemoryStore) -> Held:
    execution = an_execution(Status.RUNNING, lease_owner=ANN, lease_expires_at=NOW + LEASE)
    store.add(execution).result()
    return Held(execution.id, execution.fence)


async def test_the_watchdog_gets_nine_tenths_of_a_lease_from_before_its_renewal() -> None:
    leases, before = Watched(MemoryStore()), boottime()
    await leases._renew()
    [deadline] = leases.told
    assert before + LIFE <= deadline <= boottime() + LIFE


async def test_a_claim_that_a_renewal_has_overtaken_shortens_the_deadline() -> None:
    store = MemoryStore()
    leases, held = Watched(store), claimed(store)
    deadline = leases.deadline()
    await leases._renew()
    leases.hold(held, deadline=deadline)
    assert leases.told[-1] == deadline
    await leases._renew()
    assert leases.told[-1] > deadline


async def test_of_several_the_first_deadline_counts() -> None:
    store = MemoryStore()
    leases, early, late = Watched(store), claimed(store), claimed(store)
    leases.hold(early, deadline=100.0)
    leases.hold(late, deadline=200.0)
    assert leases.told == [100.0]


async def test_what_the_watchdog_has_nothing_to_do_with_changes_nothing() -> None:
    store = MemoryStore()
    leases = Watched(store)
    leases.hold(claimed(store))
    assert leases.told == []


async def test_after_the_deadline_nothing_may_begin_until_a_renewal() -> None:
    store = MemoryStore()
    leases = Watched(store)
    assert not leases.in_doubt
    leases.hold(claimed(store), deadline=boottime() - 1)
    assert leases.in_doubt
    await leases._renew()
    assert not leases.in_doubt


async def test_a_renewal_that_fails_leaves_the_deadline_and_raises_doubt() -> None:
    leases = Watched(Unreachable())
    leases.hold(Held(an_execution().id, 1), deadline=boottime() + 60)
    await leases._renew()
    assert leases.in_doubt
    assert len(leases.told) == 1


async def test_a_lease_that_was_lost_counts_no_more() -> None:
    leases = Watched(MemoryStore())
    lost: list[None] = []
    leases.hold(Held(an_execution().id, 1), deadline=1.0, on_lost=lambda: lost.append(None))
    await leases._renew()
    assert len(lost) == 1
    assert leases.told[-1] > boottime()
