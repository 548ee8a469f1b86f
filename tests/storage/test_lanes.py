"""Limits and pauses when several hosts write at the same time."""

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from threading import Event

import pytest
from sqlalchemy import Connection
from sqlalchemy.event import listen

from crewserve.domain.errors import LaneFull
from crewserve.domain.execution import Execution, Returned
from crewserve.domain.flow_control import NO_CONTROL, FlowControl, WhenFull
from crewserve.domain.ids import FlowName, QueueName, WorkerName
from crewserve.storage.database import open_database
from crewserve.storage.lanes import HEAD, IN_PLACES, LOCK
from crewserve.storage.sql_store import SqlStore
from crewserve.storage.statements import GET
from crewserve.storage.writer import Writer
from crewserve.testing.builders import NOW, an_execution

POEM, OTHER = FlowName("poem_flow"), FlowName("other_flow")
ANN = WorkerName("ann:1:0:00")
SECONDS = 60


class Host:
    """One server's connections, and what a supervisor of it does."""

    def __init__(self, url: str, stack: ExitStack) -> None:
        database = open_database(url, Path())
        stack.callback(database.close)
        self.engine = database.writing
        self.writer = Writer(self.engine)
        self.writer.start()
        stack.callback(self.writer.close)
        self.store = SqlStore(self.writer, self.engine.dialect)
        self.most = 0

    def add(self, control: FlowControl, flow: FlowName = POEM) -> None:
        execution = an_execution(flow=flow, turn=control.turn(flow, {}, None))
        self.store.add(execution, control=control).result(SECONDS)

    def work(self, rounds: int) -> int:
        """Returns how many it has finished."""
        finished = 0
        for _ in range(rounds):
            claim = self.store.claim(
                ANN, flows=[POEM, OTHER], limit=2, lease_expires_at=NOW, now=NOW
            )
            claimed = claim.result(SECONDS)
            self.most = max(self.most, self.in_places())
            for one in claimed:
                change = self.store.change(one.id, Returned(1), now=NOW, fence=one.fence)
                change.result(SECONDS)
                finished += 1
        return finished

    def in_places(self, flow: FlowName = POEM) -> int:
        lane = {"lane_flow": flow, "lane": ""}
        counted = self.writer.submit(lambda connection: connection.execute(IN_PLACES, lane).one())
        return int(counted.result(SECONDS)[0])


@pytest.fixture
def hosts(postgres_url: str) -> Iterator[list[Host]]:
    with ExitStack() as stack:
        yield [Host(postgres_url, stack) for _ in range(3)]


def test_limits_hold_whoever_adds_claims_and_finishes(hosts: list[Host]) -> None:
    limited = FlowControl(max_running=2)

    def live(host: Host) -> int:
        finished = 0
        for _ in range(15):
            host.add(limited)
            host.add(NO_CONTROL, OTHER)
            finished += host.work(1)
        return finished

    with ThreadPoolExecutor(3) as pool:
        finished = sum(pool.map(live, hosts))
    assert max(host.most for host in hosts) == 2
    finished += hosts[0].work(90)
    assert finished == 90
    assert hosts[0].in_places() == 0


def test_no_more_are_accepted_than_may_run_whoever_accepts(hosts: list[Host]) -> None:
    single = FlowControl(max_running=1, when_full=WhenFull.REJECT)

    def accept(host: Host) -> bool:
        try:
            host.add(single)
        except LaneFull:
            return False
        return True

    with ThreadPoolExecutor(3) as pool:
        for _ in range(10):
            assert list(pool.map(accept, hosts)).count(True) == 1
            assert hosts[0].work(1) == 1


def test_what_comes_while_a_queue_is_resumed_is_not_forgotten(hosts: list[Host]) -> None:
    adding, pausing, working = hosts
    queue = QueueName(POEM)

    def pause() -> int:
        for _ in range(20):
            pausing.store.pause(queue, now=NOW).result(SECONDS)
            while pausing.store.resume(queue, limit=5).result(SECONDS):
                pass
        return 0

    def add() -> int:
        for _ in range(30):
            adding.add(NO_CONTROL)
        return 0

    with ThreadPoolExecutor(3) as pool:
        done = [pool.submit(pause), pool.submit(add), pool.submit(working.work, 20)]
        finished = sum(one.result(SECONDS) for one in done)
    assert finished + working.work(30) == 30


def test_a_lane_that_was_left_empty_is_found(hosts: list[Host]) -> None:
    single = FlowControl(max_running=1)
    leaving, locking, _ = hosts
    leaving.add(single)
    leaving.add(single)
    with locking.engine.connect() as undone:
        undone.execute(HEAD, {"lane_flow": POEM, "lane": ""}).one()
        assert leaving.work(1) == 1
        undone.rollback()
    assert leaving.work(1) == 0
    told: list[Execution] = []
    leaving.store.on_let_in(told.extend)
    leaving.store.let_in(limit=1, now=NOW, everywhere=True).result(SECONDS)
    assert len(told) == 1
    assert leaving.work(1) == 1


def test_who_makes_others_give_way_waits_for_none_of_them(hosts: list[Host]) -> None:
    """PostgreSQL would find out after a second, `deadlock_timeout`, that they wait in a circle."""
    control = FlowControl(max_running=1, when_full=WhenFull.CANCEL_RUNNING)
    adding, ending, _ = hosts
    adding.add(control)
    claim = adding.store.claim(ANN, flows=[POEM], limit=1, lease_expires_at=NOW, now=NOW)
    (running,) = claim.result(SECONDS)
    row_is_locked, lanes_are_locked = Event(), Event()

    def end(connection: Connection) -> None:
        connection.execute(GET, {"key": running.id}).one()
        row_is_locked.set()
        lanes_are_locked.wait(SECONDS)
        connection.execute(LOCK)

    ended = ending.writer.submit(end)
    row_is_locked.wait(SECONDS)
    listen(adding.engine, "after_cursor_execute", lambda *args: _note(args[2], lanes_are_locked))
    began = time.monotonic()
    adding.add(control)
    ended.result(SECONDS)
    assert time.monotonic() - began < 0.9


def _note(statement: str, seen: Event) -> None:
    if "pg_advisory_xact_lock" in statement:
        seen.set()
