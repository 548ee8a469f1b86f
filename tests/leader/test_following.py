"""What a follower asks is done once, by this leader or by the next one."""

import asyncio
import os
import socket
from collections.abc import AsyncIterator, Callable
from concurrent.futures import Future
from contextlib import AbstractAsyncContextManager
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from crewserve.domain.errors import (
    ExecutionNotFound,
    FieldError,
    NotReady,
    StaleExecution,
    StorageUnavailable,
    WorkerNotFound,
)
from crewserve.domain.execution import CancelRequested, Claimed, HandedBack, Returned
from crewserve.domain.flow import FlowDescription, FlowHealth
from crewserve.domain.flow_control import FlowControl, WhenFull
from crewserve.domain.ids import FlowName, WorkerName
from crewserve.domain.query import ExecutionQuery
from crewserve.domain.status import Status
from crewserve.leader import link, server
from crewserve.leader.calls import Writes
from crewserve.leader.following import Following
from crewserve.leader.wire import KEY_BYTES, connect, frame
from crewserve.storage.memory import MemoryStore
from crewserve.testing.builders import NOW, a_new_id, a_worker, an_execution
from crewserve.testing.stores import ANN, LATER, add_running, claim, done, held_by
from tests.support.leading import POEM, Leader, following, leading

Lead = Callable[[], AbstractAsyncContextManager[Leader]]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "socket"


@pytest.fixture
def store() -> MemoryStore:
    return MemoryStore()


@pytest.fixture
def lead(path: Path, store: MemoryStore) -> Lead:
    return partial(leading, path, store)


@pytest.fixture
async def follower(path: Path) -> AsyncIterator[Following]:
    with following(path) as found:
        yield found


class Mute(MemoryStore):
    """Commits, and never says so."""

    def __init__(self, store: MemoryStore) -> None:
        self.store = store
        self.asked = asyncio.Event()

    def __getattribute__(self, name: str) -> Any:
        if name in {"store", "asked", "_mute"} or name.startswith("__"):
            return object.__getattribute__(self, name)
        return partial(self._mute, getattr(self.store, name))

    def _mute(self, method: Callable[..., "Future[Any]"], *values: Any, **named: Any) -> Any:
        method(*values, **named).result()
        self.asked.set()
        return Future()


async def asked_of_a_leader_that_dies(
    path: Path, store: MemoryStore, ask: Callable[[], "Future[Any]"]
) -> Any:
    """What the next leader answers."""
    mute = Mute(store)
    async with leading(path, mute):
        future = ask()
        await asyncio.wait_for(mute.asked.wait(), 10)
    async with leading(path, store):
        return await done(future)


async def test_what_was_added_before_the_leader_died_is_added_once(
    path: Path, store: MemoryStore, follower: Following
) -> None:
    execution = an_execution()
    await asked_of_a_leader_that_dies(path, store, lambda: follower.store.add(execution))
    assert list(await store.page(ExecutionQuery())) == [execution]


@pytest.mark.parametrize("event", [CancelRequested(timedelta(0)), Claimed(ANN, LATER)])
async def test_a_change_that_was_made_before_the_leader_died_is_made_once(
    path: Path, store: MemoryStore, follower: Following, event: Any
) -> None:
    execution = an_execution()
    await done(store.add(execution))
    changed = await asked_of_a_leader_that_dies(
        path, store, lambda: follower.store.change(execution.id, event, now=NOW)
    )
    assert changed == await store.get(execution.id)
    assert changed.fence == (1 if isinstance(event, Claimed) else 0)


async def test_a_cancel_of_what_runs_is_requested_once(
    path: Path, store: MemoryStore, follower: Following
) -> None:
    running, event = await add_running(store), CancelRequested(timedelta(seconds=5))
    changed = await asked_of_a_leader_that_dies(
        path, store, lambda: follower.store.change(running.id, event, now=LATER)
    )
    assert (changed.status, changed.cancel.requested_at) == (Status.RUNNING, LATER)


async def test_what_was_deleted_before_the_leader_died_is_deleted(
    path: Path, store: MemoryStore, follower: Following
) -> None:
    execution = an_execution(Status.COMPLETED)
    await done(store.add(execution))
    await asked_of_a_leader_that_dies(path, store, lambda: follower.store.delete(execution.id))
    with pytest.raises(ExecutionNotFound):
        await store.get(execution.id)


async def test_what_shows_a_fence_is_refused_the_second_time(
    path: Path, store: MemoryStore, follower: Following
) -> None:
    running = await add_running(store)
    with pytest.raises(StaleExecution):
        await asked_of_a_leader_that_dies(
            path,
            store,
            lambda: follower.store.change(running.id, HandedBack(), now=LATER, fence=running.fence),
        )


async def test_a_claim_is_not_made_twice(
    path: Path, store: MemoryStore, follower: Following
) -> None:
    for _ in range(2):
        await done(store.add(an_execution()))
    claiming = partial(
        follower.store.claim, ANN, flows=[POEM.name], limit=1, lease_expires_at=LATER, now=NOW
    )
    with pytest.raises(StorageUnavailable):
        await asked_of_a_leader_that_dies(path, store, claiming)
    assert len(await claim(store, limit=10)) == 1


async def test_a_call_waits_for_a_leader(lead: Lead, follower: Following) -> None:
    execution = an_execution()
    adding = follower.store.add(execution)
    async with lead():
        await done(adding)


async def test_without_a_leader_nothing_is_stored_and_nothing_checked(
    follower: Following, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(link, "LEADERLESS_SECONDS", 0.05)
    with pytest.raises(StorageUnavailable):
        await done(follower.store.add(an_execution()))
    with pytest.raises(NotReady):
        await follower.work.checks.validate(POEM, {})


async def test_a_leader_that_does_not_answer_is_not_waited_for_for_ever(
    path: Path, store: MemoryStore, follower: Following, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(link, "LEADERLESS_SECONDS", 0.2)
    monkeypatch.setattr(link, "ANSWER_SECONDS", 0.4)
    async with leading(path, Mute(store)):
        with pytest.raises(StorageUnavailable):
            await done(follower.store.add(an_execution()))


async def test_whoever_follows_and_then_leads_does_itself_what_was_not_answered(
    path: Path, store: MemoryStore, follower: Following
) -> None:
    answered, unanswered = an_execution(), an_execution()
    mute = Mute(store)
    async with leading(path, mute):
        adding = follower.store.add(answered)
        await asyncio.wait_for(mute.asked.wait(), 10)
    waiting = follower.store.add(unanswered)
    follower.lead(Writes(store, store, store, store))
    await asyncio.gather(done(adding), done(waiting))
    later = an_execution()
    await done(follower.store.add(later))
    assert {found.id for found in await store.page(ExecutionQuery())} == {
        answered.id,
        unanswered.id,
        later.id,
    }


async def test_the_leader_hears_of_what_can_be_claimed_and_of_what_shall_stop(
    lead: Lead, store: MemoryStore, follower: Following
) -> None:
    execution, running = an_execution(), await add_running(store)
    async with lead() as leader:
        await done(follower.store.add(execution))
        event = CancelRequested(timedelta(seconds=5))
        await done(follower.store.change(running.id, event, now=NOW))
        await done(follower.store.renew(ANN, [held_by(running)], lease_expires_at=LATER, now=NOW))
        assert (leader.announced, leader.cancels) == ([execution.id], [running.id])


async def test_the_leader_hears_of_what_begins_later_and_of_what_makes_way(
    lead: Lead, store: MemoryStore, follower: Following
) -> None:
    control = FlowControl(max_running=1, when_full=WhenFull.CANCEL_RUNNING)
    running = await add_running(store, turn=control.turn(POEM.name, {}, None))
    async with lead() as leader:
        later = an_execution(available_at=LATER)
        await done(follower.store.add(later))
        assert (leader.announced, leader.expected) == ([], [LATER])
        newest = an_execution(turn=control.turn(POEM.name, {}, None))
        assert await done(follower.store.add(newest, control=control)) == [running.id]
        assert leader.cancels == [running.id]


async def test_a_drain_is_requested_of_the_leader_and_seen_by_whoever_asked(
    lead: Lead, store: MemoryStore, follower: Following
) -> None:
    worker = a_worker()
    await done(store.beat(worker))
    async with lead() as leader:
        workers = follower.workers(store)
        await done(workers.request_drain(worker.name, NOW))
        assert (await workers.worker(worker.name)).drain_requested_at == NOW
        assert leader.drains == [worker.name]
        with pytest.raises(WorkerNotFound):
            await done(workers.request_drain(WorkerName("nobody:1:0:00"), NOW))


async def test_inputs_are_checked_where_the_flows_are_loaded(
    lead: Lead, follower: Following
) -> None:
    wrong = FieldError("name", "Field required", "missing")
    async with lead() as leader:
        leader.host.errors = [wrong]
        assert await follower.work.checks.validate(POEM, {"a": [1]}) == [wrong]
        assert await follower.work.checks.unknown_fields(POEM, {"name"}) == [wrong]
        leader.server.work = None
        with pytest.raises(NotReady) as caught:
            await follower.work.checks.validate(POEM, {})
        assert caught.value.retry_after == timedelta(seconds=2)


async def test_whoever_has_begun_to_lead_and_loads_its_flows_is_not_ready(
    store: MemoryStore, follower: Following
) -> None:
    follower.lead(Writes(store, store, store, store))
    with pytest.raises(NotReady):
        await follower.work.checks.validate(POEM, {})


async def test_once_it_leads_it_asks_its_own_host(lead: Lead, follower: Following) -> None:
    work, wrong = follower.work, FieldError("name", "Field required", "missing")
    async with lead() as leader:
        leader.host.errors = [wrong]
        follower.run_here(leader.work())
        execution = an_execution()
        work.announce([execution])
        work.announce_cancel(execution.id)
        assert (leader.announced, leader.cancels) == ([execution.id], [execution.id])
        assert await work.checks.validate(POEM, {}) == [wrong]
        assert await work.checks.unknown_fields(POEM, ["name"]) == [wrong]


async def test_followers_are_told_what_is_known_of_flows_at_once_and_later(
    path: Path, lead: Lead
) -> None:
    told: asyncio.Queue[Any] = asyncio.Queue()
    loop = asyncio.get_running_loop()
    first = {POEM.name: FlowDescription(health=FlowHealth.READY, input_schema={"type": "object"})}
    second = {FlowName("other"): FlowDescription(health=FlowHealth.BROKEN, traceback="\ud800")}
    async with lead() as leader:
        leader.server.describe(first)
        with following(path, lambda found: loop.call_soon_threadsafe(told.put_nowait, found)):
            assert await asyncio.wait_for(told.get(), 10) == first
            leader.server.describe(second)
            assert await asyncio.wait_for(told.get(), 10) == second


async def test_a_failure_of_the_leader_is_no_end_of_it(
    path: Path, store: MemoryStore, follower: Following, caplog: pytest.LogCaptureFixture
) -> None:
    class Failing(MemoryStore):
        def delete(self, execution_id: Any, *, realm: Any = None) -> "Future[None]":
            raise ZeroDivisionError

    async with leading(path, Failing()):
        with pytest.raises(RuntimeError, match="its log says why"):
            await done(follower.store.delete(a_new_id()))
        await done(follower.store.add(an_execution()))
    assert "ZeroDivisionError" in caplog.text


@pytest.mark.parametrize("sent", [b"GET / HTTP/1.1\r\n\r\n", frame(b"{"), frame(b"[[1],2]")])
async def test_whoever_says_something_else_is_turned_away(
    lead: Lead, path: Path, follower: Following, sent: bytes
) -> None:
    async with lead():
        await done(follower.store.add(an_execution()))
        reader, writer = await asyncio.open_unix_connection(sock=connect(path))
        writer.write(sent)
        writer.write_eof()
        async with asyncio.timeout(10):
            await reader.read()
        writer.close()
        await done(follower.store.add(an_execution()))


async def test_whoever_cannot_read_the_key_hears_nothing(
    lead: Lead, path: Path, follower: Following
) -> None:
    async with lead():
        await done(follower.store.add(an_execution()))
        with socket.socket(socket.AF_UNIX) as stranger:
            stranger.connect(str(path))
            stranger.settimeout(10)
            stranger.sendall(bytes(KEY_BYTES))
            assert await asyncio.to_thread(stranger.recv, 1) == b""
        assert path.with_suffix(".key").stat().st_mode & 0o777 == 0o600


async def test_whoever_says_nothing_is_turned_away(
    lead: Lead, path: Path, follower: Following, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "KEY_SECONDS", 0.05)
    async with lead():
        await done(follower.store.add(an_execution()))
        with socket.socket(socket.AF_UNIX) as stranger:
            stranger.connect(str(path))
            stranger.settimeout(10)
            assert await asyncio.to_thread(stranger.recv, 1) == b""


async def test_a_data_folder_may_have_a_long_name_and_nobody_else_may_follow(
    tmp_path: Path, store: MemoryStore
) -> None:
    folder = tmp_path / ("deep" * 30) / ("down" * 30)
    folder.mkdir(parents=True)
    path = folder / "socket"
    async with leading(path, store):
        with following(path) as follower:
            await done(follower.store.add(an_execution()))
            assert path.stat().st_mode & 0o777 == 0o600
    assert len(os.fsencode(path)) > 200


async def test_a_result_is_not_lost_on_its_way(
    lead: Lead, store: MemoryStore, follower: Following
) -> None:
    running = await add_running(store)
    async with lead():
        changed = await done(follower.store.change(running.id, Returned({"a": None}), now=LATER))
    assert changed == await store.get(running.id)
