"""Knowing who shows a key, without a query for each request."""

import asyncio
from datetime import timedelta

import pytest

from crewserve.application.key_ring import HEARD_WITHIN, KeyRing
from crewserve.domain.access_errors import KeyRefused
from crewserve.domain.api_key import ApiKey, new_token
from crewserve.domain.errors import StorageUnavailable
from crewserve.domain.ids import KeyId
from crewserve.storage.memory import MemoryStore
from crewserve.testing.builders import NOW, SECRET, an_api_key
from crewserve.testing.fakes import FrozenClock


class CountingStore(MemoryStore):
    """Counts what is read of keys, and may be out of order."""

    reads = 0
    is_broken = False
    gate: asyncio.Event | None = None

    async def api_key(self, key_id: KeyId) -> ApiKey:
        self.reads += 1
        await asyncio.sleep(0)
        if self.gate is not None:
            await self.gate.wait()
        if self.is_broken:
            raise StorageUnavailable
        return await super().api_key(key_id)


class Ring:
    """With one key in it."""

    def __init__(self) -> None:
        self.store, self.clock, self.seconds = CountingStore(), FrozenClock(), 0.0
        self.token = new_token()
        self.key = an_api_key(self.token)
        self.store.add_api_key(self.key).result()
        self.ring = KeyRing(
            store=self.store, secret=SECRET, clock=self.clock, seconds=lambda: self.seconds
        )


@pytest.fixture
def one() -> Ring:
    return Ring()


async def test_a_thousand_requests_cost_one_query(one: Ring) -> None:
    for _ in range(1000):
        assert (await one.ring.principal(one.token)).key == one.key.id
    assert one.store.reads == 1


async def test_of_many_that_come_when_it_must_be_read_again_one_reads(one: Ring) -> None:
    await one.ring.principal(one.token)
    one.seconds += HEARD_WITHIN
    await asyncio.gather(*(one.ring.principal(one.token) for _ in range(50)))
    assert one.store.reads == 2


async def test_while_the_database_hangs_old_knowledge_counts_no_longer_than_said(one: Ring) -> None:
    await one.ring.principal(one.token)
    one.store.gate = asyncio.Event()
    one.seconds += HEARD_WITHIN
    first = asyncio.create_task(one.ring.principal(one.token))
    await asyncio.sleep(0)
    assert (await one.ring.principal(one.token)).key == one.key.id
    one.seconds += HEARD_WITHIN
    second = asyncio.create_task(one.ring.principal(one.token))
    done, _ = await asyncio.wait([first, second], timeout=0.05)
    assert not done
    one.store.end_api_key(one.key.id, at=NOW).result()
    one.store.gate.set()
    for waiting in (first, second):
        with pytest.raises(KeyRefused):
            await waiting


async def test_a_key_of_another_secret_is_refused(one: Ring) -> None:
    other = KeyRing(store=one.store, secret=b"another", clock=one.clock)
    with pytest.raises(KeyRefused):
        await other.principal(one.token)


async def test_while_the_database_is_away_nobody_is_let_in_for_longer_than_said(one: Ring) -> None:
    await one.ring.principal(one.token)
    one.store.is_broken = True
    await one.ring.principal(one.token)
    one.seconds += HEARD_WITHIN
    for _ in range(2):
        with pytest.raises(StorageUnavailable):
            await one.ring.principal(one.token)


async def test_uses_are_noted_together(one: Ring) -> None:
    for minutes in range(3):
        one.clock.now = NOW + timedelta(minutes=minutes)
        await one.ring.principal(one.token)
    assert (await one.store.api_key(one.key.id)).last_used_at is None
    await one.ring.note()
    assert (await one.store.api_key(one.key.id)).last_used_at == NOW + timedelta(minutes=2)


async def test_a_refused_key_was_not_used(one: Ring) -> None:
    one.store.end_api_key(one.key.id, at=NOW).result()
    with pytest.raises(KeyRefused):
        await one.ring.principal(one.token)
    await one.ring.note()
    assert (await one.store.api_key(one.key.id)).last_used_at is None
