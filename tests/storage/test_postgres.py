"""What only a database server does: break, come back, and serve several hosts."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from itertools import count
from pathlib import Path
from threading import Barrier, Event
from typing import Any, TypeVar

import psycopg
import pytest
from sqlalchemy import Connection, event, text

from crewserve.domain.errors import StorageUnavailable, ValueRefused
from crewserve.domain.event_log import Entry
from crewserve.domain.execution import CancelRequested, Driver, HandedBack, Raised
from crewserve.domain.failure import Failure, FailureCode
from crewserve.domain.ids import ExecutionId, FlowName, WorkerName
from crewserve.domain.query import ExecutionQuery
from crewserve.domain.status import Status
from crewserve.ports import Held
from crewserve.storage.database import Database, DatabaseUnusable, open_database
from crewserve.storage.event_log import SqlEventLog
from crewserve.storage.listener import PostgresListener
from crewserve.storage.postgres import WrongDatabaseUrl, connect_arguments, parse_url
from crewserve.storage.sql_reader import SqlReader
from crewserve.storage.sql_store import SqlStore
from crewserve.storage.workers import SqlWorkers
from crewserve.storage.writer import Writer
from crewserve.testing.builders import NOW, a_worker, an_entry, an_execution
from tests.support import postgres

T = TypeVar("T")
POEM = FlowName("poem_flow")
ANN = WorkerName("ann:1:0:00")
SECONDS = 20


@dataclass(frozen=True, slots=True, eq=False)
class Host:
    """One server's connections."""

    database: Database
    writer: Writer
    store: SqlStore
    reader: SqlReader

    def write(self, run: Callable[[Connection], T]) -> T:
        return self.writer.submit(run).result(SECONDS)


@contextmanager
def connected(url: str) -> Iterator[Host]:
    database = open_database(url, Path())
    writer, reader = Writer(database.writing), database.reader()
    writer.start()
    yield Host(database, writer, SqlStore(writer, database.writing.dialect), reader)
    writer.close()
    reader.close()
    database.close()


@pytest.fixture
def host(postgres_url: str) -> Iterator[Host]:
    with connected(postgres_url) as host:
        yield host


def add(host: Host, **changes: Any) -> ExecutionId:
    execution = an_execution(**changes)
    host.store.add(execution).result(SECONDS)
    return execution.id


def break_connections(url: str) -> int:
    """Every other one to this database; returns how many there were."""
    with psycopg.connect(url, autocommit=True) as connection:
        ended = connection.execute(
            "select pg_terminate_backend(pid) from pg_stat_activity"
            " where datname = current_database() and pid <> pg_backend_pid()"
        )
        return len(ended.fetchall())


def end_own_connection(connection: Connection) -> None:
    connection.execute(text("select pg_terminate_backend(pg_backend_pid())"))


class TestBrokenConnections:
    async def test_idle_connections_that_broke_cost_nothing(
        self, host: Host, postgres_url: str
    ) -> None:
        first = add(host)
        await host.reader.get(first)
        assert break_connections(postgres_url) >= 2
        second = add(host)
        assert (await host.reader.get(second)).id == second

    def test_what_a_broken_connection_took_with_it_is_told(self, host: Host) -> None:
        with pytest.raises(StorageUnavailable):
            host.write(end_own_connection)
        add(host)

    def test_a_commit_of_unknown_outcome_is_neither_success_nor_repeated(
        self, host: Host, postgres_url: str
    ) -> None:
        runs: list[str] = []
        held, go = Event(), Event()

        def hold(connection: Connection) -> None:
            note(connection)
            held.set()
            assert go.wait(SECONDS)

        def note(connection: Connection) -> None:
            connection.execute(text("select 1"))
            runs.append("run")

        def break_it(_: Connection) -> None:
            break_connections(postgres_url)

        first = host.writer.submit(hold)
        assert held.wait(SECONDS)
        batch = [host.writer.submit(note) for _ in range(3)]
        event.listen(host.database.writing, "commit", break_it)
        go.set()
        for future in (first, *batch):
            with pytest.raises(StorageUnavailable):
                future.result(SECONDS)
        event.remove(host.database.writing, "commit", break_it)
        assert runs == ["run"] * 4
        add(host)

    def test_a_claim_that_was_committed_unknown_to_its_owner_is_handed_back(
        self, host: Host
    ) -> None:
        def commit_and_break(connection: Connection) -> None:
            driver: Any = connection.connection.driver_connection
            driver.commit()
            driver.close()

        added = add(host)
        event.listen(host.database.writing, "commit", commit_and_break)
        claim = host.store.claim(ANN, flows=[POEM], limit=1, lease_expires_at=NOW, now=NOW)
        with pytest.raises(StorageUnavailable):
            claim.result(SECONDS)
        event.remove(host.database.writing, "commit", commit_and_break)
        [back] = host.store.hand_back(ANN, but=[], now=NOW).result(SECONDS)
        assert (back.id, back.status, back.attempt) == (added, Status.PENDING, 0)


class TestServerAway:
    async def test_reads_and_writes_say_so_and_go_on_when_it_is_back(self) -> None:
        with postgres.private_server() as server, connected(server.url) as host:
            host.database.migrate()
            kept = add(host)
            server.stop_immediate()
            lost = an_execution()
            with pytest.raises(StorageUnavailable):
                await asyncio.wrap_future(host.store.add(lost))
            with pytest.raises(StorageUnavailable):
                await host.reader.get(kept)
            server.start()
            assert (await host.reader.get(kept)).id == kept
            await asyncio.wrap_future(host.store.add(lost))
            assert (await host.reader.get(lost.id)).id == lost.id


class TestSeveralHosts:
    def test_nothing_is_given_twice(self, postgres_url: str) -> None:
        with connected(postgres_url) as one, connected(postgres_url) as two:
            added = [one.store.add(an_execution()) for _ in range(60)]
            [future.result(SECONDS) for future in added]

            def claim_all(host: Host) -> list[ExecutionId]:
                given: list[ExecutionId] = []
                while claimed := host.store.claim(
                    ANN, flows=[POEM], limit=3, lease_expires_at=NOW, now=NOW
                ).result(SECONDS):
                    given += [execution.id for execution in claimed]
                return given

            with ThreadPoolExecutor(4) as pool:
                given = [one for got in pool.map(claim_all, [one, two] * 2) for one in got]
        assert len(given) == len(set(given)) == 60

    def test_writes_that_lock_each_other_out_both_succeed(self, postgres_url: str) -> None:
        with connected(postgres_url) as one, connected(postgres_url) as two:
            ids = [add(one), add(one)]
            both = Barrier(2, timeout=SECONDS)

            def touch(order: list[ExecutionId]) -> Callable[[Connection], None]:
                tries = count()

                def run(connection: Connection) -> None:
                    lock = text("select 1 from executions where id = :id for update")
                    connection.execute(lock, {"id": order[0]})
                    if next(tries) == 0:
                        both.wait()  # the other one has locked the other row
                    connection.execute(lock, {"id": order[1]})

                return run

            futures = [one.writer.submit(touch(ids)), two.writer.submit(touch(ids[::-1]))]
            assert [future.result(SECONDS) for future in futures] == [None, None]


@dataclass(slots=True, eq=False)
class Heard:
    ready: asyncio.Event = field(default_factory=asyncio.Event)
    cancels: "asyncio.Queue[ExecutionId]" = field(default_factory=asyncio.Queue)
    requests: "asyncio.Queue[WorkerName]" = field(default_factory=asyncio.Queue)
    events: "asyncio.Queue[ExecutionId]" = field(default_factory=asyncio.Queue)


@asynccontextmanager
async def listening(url: str) -> AsyncIterator[Heard]:
    heard = Heard()
    listener = PostgresListener(
        url,
        heard.ready.set,
        heard.cancels.put_nowait,
        heard.requests.put_nowait,
        heard.events.put_nowait,
        heard.ready.set,
    )
    task = asyncio.create_task(listener.keep())
    try:
        await until_listening(url)
        yield heard
    finally:
        task.cancel()
        await asyncio.wait([task])


async def until_listening(url: str) -> None:
    async with await psycopg.AsyncConnection.connect(url, autocommit=True) as connection:
        question = "select 1 from pg_stat_activity where query like 'LISTEN%' and state = 'idle'"
        question += " and datname = current_database()"
        async with asyncio.timeout(SECONDS):
            while await (await connection.execute(question.encode())).fetchone() is None:
                await asyncio.sleep(0.02)


async def hears(event: asyncio.Event) -> None:
    async with asyncio.timeout(SECONDS):
        await event.wait()
    event.clear()


class TestEventLog:
    def test_hosts_that_write_to_one_log_at_a_time_give_out_each_number_once(
        self, host: Host, postgres_url: str
    ) -> None:
        execution = an_execution(Status.RUNNING)
        host.store.add(execution).result(SECONDS)
        with connected(postgres_url) as other:
            log = SqlEventLog(host.writer, host.reader, host.database.writing.dialect)
            cancel, held = CancelRequested(timedelta(seconds=9)), Held(execution.id, 1)
            written: list[Future[Any]] = []
            for _ in range(60):
                written.append(log.append(held, [an_entry(), an_entry()]))
                written.append(other.store.change(execution.id, cancel, now=NOW))
            for future in written:
                future.result(SECONDS)
        found = asyncio.run(events_of(log, execution.id))
        assert [entry.sequence for entry in found] == list(range(1, 1 + 1 + 60 * 3))

    async def test_other_hosts_hear_of_events(self, host: Host, postgres_url: str) -> None:
        execution = an_execution(Status.RUNNING)
        await asyncio.wrap_future(host.store.add(execution))
        log = SqlEventLog(host.writer, host.reader, host.database.writing.dialect)
        async with listening(postgres_url) as heard:
            append = log.append(Held(execution.id, 1), [an_entry()])
            await asyncio.wrap_future(append)
            async with asyncio.timeout(SECONDS):
                assert await heard.events.get() == execution.id

    async def test_other_hosts_hear_that_a_log_is_gone(self, host: Host, postgres_url: str) -> None:
        execution = an_execution(Status.COMPLETED)
        await asyncio.wrap_future(host.store.add(execution))
        async with listening(postgres_url) as heard:
            await asyncio.wrap_future(host.store.delete(execution.id))
            async with asyncio.timeout(SECONDS):
                assert await heard.events.get() == execution.id


async def events_of(log: SqlEventLog, execution: ExecutionId) -> Sequence[Entry]:
    return await log.events(execution, after=0, limit=1000)


class TestListener:
    async def test_it_hears_of_work_that_another_host_accepted(
        self, host: Host, postgres_url: str
    ) -> None:
        async with listening(postgres_url) as heard:
            await asyncio.to_thread(add, host)
            await hears(heard.ready)

    async def test_it_hears_of_work_that_was_handed_back(
        self, host: Host, postgres_url: str
    ) -> None:
        added = add(host)
        async with listening(postgres_url) as heard:
            claim = host.store.claim(ANN, flows=[POEM], limit=1, lease_expires_at=NOW, now=NOW)
            [claimed] = await asyncio.wrap_future(claim)
            assert not heard.ready.is_set()
            change = host.store.change(added, HandedBack(), now=NOW, fence=claimed.fence)
            await asyncio.wrap_future(change)
            await hears(heard.ready)

    async def test_it_hears_of_the_cancel_of_what_runs(self, host: Host, postgres_url: str) -> None:
        execution = an_execution(Status.RUNNING)
        async with listening(postgres_url) as heard:
            await asyncio.wrap_future(host.store.add(execution))
            cancel = CancelRequested(timedelta())
            await asyncio.wrap_future(host.store.change(execution.id, cancel, now=NOW))
            async with asyncio.timeout(SECONDS):
                assert await heard.cancels.get() == execution.id
            assert not heard.ready.is_set()

    async def test_it_hears_of_what_is_requested_of_a_worker(
        self, host: Host, postgres_url: str
    ) -> None:
        workers = SqlWorkers(host.writer, host.reader, host.database.writing.dialect)
        await asyncio.wrap_future(workers.beat(a_worker(ANN)))
        async with listening(postgres_url) as heard:
            for since in (NOW, None):
                await asyncio.wrap_future(workers.request_drain(ANN, since))
                async with asyncio.timeout(SECONDS):
                    assert await heard.requests.get() == ANN
            assert not heard.ready.is_set()

    async def test_it_is_not_woken_for_what_nobody_may_claim(
        self, host: Host, postgres_url: str
    ) -> None:
        async with listening(postgres_url) as heard:
            await asyncio.to_thread(add, host, driver=Driver.CALLER)
            await asyncio.to_thread(add, host, status=Status.COMPLETED)
            running = an_execution(Status.RUNNING)
            await asyncio.wrap_future(host.store.add(running))
            cancel = CancelRequested(timedelta())
            await asyncio.wrap_future(host.store.change(running.id, cancel, now=NOW))
            await heard.cancels.get()  # came after all others
            assert not heard.ready.is_set()

    async def test_a_lost_connection_is_made_again_and_what_was_missed_is_looked_for(
        self, host: Host, postgres_url: str
    ) -> None:
        async with listening(postgres_url) as heard:
            await asyncio.to_thread(break_connections, postgres_url)
            await hears(heard.ready)
            await until_listening(postgres_url)
            await asyncio.to_thread(add, host)
            await hears(heard.ready)

    async def test_a_message_of_somebody_else_does_no_harm(
        self, host: Host, postgres_url: str
    ) -> None:
        async with listening(postgres_url) as heard:
            host.write(lambda c: c.execute(text("select pg_notify('crewserve_cancel', 'me')")))
            await asyncio.to_thread(add, host)
            await hears(heard.ready)
            assert heard.cancels.empty()


class TestText:
    async def test_an_end_is_stored_whatever_its_message_contains(self, host: Host) -> None:
        failure = Failure(code=FailureCode.FLOW_ERROR, message="a\0b\ud800", type="T" * 500)
        added = add(host, status=Status.FAILED, failure=failure)
        read = (await host.reader.get(added)).failure
        assert read is not None
        assert (read.message, read.type) == ("a\N{REPLACEMENT CHARACTER}b?", "T" * 500)

    async def test_json_keeps_its_order(self, host: Host) -> None:
        added = add(host, inputs={"b": 1e300, "a": "\0\ud800"})
        assert list((await host.reader.get(added)).inputs.items()) == [
            ("b", 1e300),
            ("a", "\0\ud800"),
        ]

    async def test_what_the_encoding_of_a_database_lacks_is_told_apart(
        self, latin_postgres_url: str
    ) -> None:
        with connected(latin_postgres_url) as host:
            host.database.migrate()
            running = an_execution(Status.RUNNING, inputs={"topic": "\N{SHORTCAKE}"})
            await asyncio.wrap_future(host.store.add(running))
            failure = Failure(code=FailureCode.FLOW_ERROR, message="no \N{SHORTCAKE} left")
            change = host.store.change(running.id, Raised(failure), now=NOW)
            with pytest.raises(ValueRefused, match="no equivalent in encoding"):
                await asyncio.wrap_future(change)
            with pytest.raises(ValueRefused):
                await host.reader.page(ExecutionQuery(flow=FlowName("\N{SHORTCAKE}")))
            assert await host.reader.get(running.id) == running

    async def test_times_are_utc_wherever_the_server_is(self, postgres_url: str) -> None:
        with psycopg.connect(postgres_url, autocommit=True) as connection:
            zone = b"set timezone = 'Asia/Tokyo'"
            name = connection.info.dbname.encode()
            connection.execute(b'alter database "' + name + b'" ' + zone)
        with connected(postgres_url) as host:
            read = await host.reader.get(add(host))
        assert (read.created_at, read.created_at.tzinfo) == (NOW, NOW.tzinfo)


class TestUrl:
    @pytest.mark.parametrize("scheme", ["postgres", "postgresql", "postgresql+psycopg"])
    def test_the_usual_schemes_are_understood(self, scheme: str) -> None:
        found = connect_arguments(
            parse_url(f"{scheme}://me:p%40ss@there:5433/mine?sslmode=require")
        )
        expected = {"user": "me", "password": "p@ss", "host": "there", "dbname": "mine"}
        assert found.items() >= {**expected, "sslmode": "require"}.items()

    def test_what_it_says_itself_wins(self) -> None:
        url = parse_url("postgresql://there/?connect_timeout=9&options=-c%20lock_timeout%3D1s")
        found = connect_arguments(url)
        assert found["connect_timeout"] == "9"
        assert found["options"].endswith("-c lock_timeout=1s")

    @pytest.mark.parametrize(
        "url",
        [
            "mysql://me:secret@there/mine",
            "secret",
            "postgresql://me:secret@there:port/mine",
            "postgresql://me:my@secret@there/mine",
        ],
    )
    def test_a_wrong_one_is_refused_without_repeating_it(self, url: str) -> None:
        with pytest.raises(DatabaseUnusable) as caught:
            open_database(url, Path())
        assert "secret" not in str(caught.value)
        assert isinstance(caught.value.__cause__, WrongDatabaseUrl)

    def test_a_server_that_does_not_answer_is_told_in_one_line(self) -> None:
        database = open_database("postgresql://me:secret@127.0.0.1:1/mine", Path())
        with pytest.raises(DatabaseUnusable, match=r"port 1 failed: Connection refused$") as caught:
            database.migrate()
        assert "secret" not in str(caught.value)
