"""Processes that are frozen: for a while, and for good."""

import os
import signal
import sqlite3
from collections.abc import Callable
from contextlib import AbstractContextManager, closing
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from deploy.members import as_host
from tests.support.diary import began, ends, entries
from tests.support.processes import is_alive
from tests.support.servers import FLOWS, Server, crewserve_serve, data_of, running
from tests.support.waiting import eventually

pytestmark = pytest.mark.own_ground

COMMAND = crewserve_serve(f"{FLOWS}/durable.py:Gated")

Start = Callable[[str], AbstractContextManager[Server]]


@pytest.fixture(params=["sqlite", "postgresql"])
def start(request: pytest.FixtureRequest, tmp_path: Path) -> Start:
    """Starts a host of that name; all have one database, and on SQLite so one data folder."""
    variables, on_sqlite = {"CREWSERVE_LEASE_SECONDS": "2"}, request.param == "sqlite"
    if not on_sqlite:
        variables["CREWSERVE_DATABASE_URL"] = request.getfixturevalue("empty_postgres_url")

    def start(name: str) -> AbstractContextManager[Server]:
        data = data_of(tmp_path) if on_sqlite else None
        command = [*as_host(name), *COMMAND]
        return running(command, tmp_path / name, data=data, variables=variables)

    return start


@pytest.fixture
def files(tmp_path: Path) -> Path:
    """Flows may not write beside the data of a server."""
    folder = tmp_path / "files"
    folder.mkdir()
    return folder


@pytest.fixture
def diary(files: Path) -> Path:
    return files / "diary"


@pytest.fixture
def gate(files: Path) -> Path:
    return files / "gate"


def send(number: signal.Signals, *pids: int) -> None:
    for pid in pids:
        os.kill(pid, number)


def freeze(server: Server, *pids: int) -> None:
    """But not amid a transaction: on SQLite that would lock out everybody else."""

    def frozen() -> bool:
        send(signal.SIGSTOP, *pids)
        if is_free(server.data / "crewserve.db"):
            return True
        send(signal.SIGCONT, *pids)
        return False

    eventually(frozen, what="it is frozen between two transactions")


def is_free(database: Path) -> bool:
    """Whether anybody could write to it now, if it is a file."""
    if not database.exists():
        return True
    with closing(sqlite3.connect(database, timeout=0, isolation_level=None)) as connection:
        try:
            connection.execute("begin immediate")
        except sqlite3.OperationalError:
            return False
    return True


def stuck_at_the_gate(server: Server, diary: Path, gate: Path) -> str:
    server.wait_for_flows()
    execution = server.execute("gated", diary=str(diary), gate=str(gate))
    eventually(lambda: began(diary, "two"), what="the flow is at the gate")
    return execution


def recorded(server: Server, execution: str) -> tuple[dict[str, Any], Any]:
    """The row with its attempts, and the steps."""
    steps = server.client.get(f"/api/v1/executions/{execution}/steps").raise_for_status()
    return server.get(execution), steps.json()


def taken_over(second: Server, execution: str) -> tuple[dict[str, Any], Any]:
    """What is recorded once the second server has completed it."""
    found = second.wait_for_end(execution)
    assert (found["status"], found["result"]) == ("completed", 3)
    assert [one["outcome"] for one in found["attempts"]] == ["lost", "completed"]
    return recorded(second, execution)


def written_by(pid: int, diary: Path) -> list[str]:
    return [entry.step for entry in entries(diary) if entry.pid == pid]


def test_what_was_frozen_with_all_its_processes_is_held_off_by_its_fence(
    start: Start, diary: Path, gate: Path
) -> None:
    """Nobody could kill its process; a finished step of it waits to be recorded."""
    with start("first") as first:
        execution = stuck_at_the_gate(first, diary, gate)
        child, template = first.child_of(execution), first.template()
        assert template is not None
        freeze(first, template, first.pid)
        gate.touch()
        eventually(lambda: ends(diary)["two"] == 1, what="its second step ends")
        send(signal.SIGSTOP, child)
        with start("second") as second:
            before = taken_over(second, execution)
            assert is_alive(child)
            send(signal.SIGCONT, child, first.pid, template)
            eventually(lambda: "Lost the lease" in first.log, what="it knows")
            eventually(lambda: not is_alive(child), what="its process is gone")
            assert recorded(second, execution) == before
        assert written_by(child, diary) == ["one.begin", "one.end", "two.begin", "two.end"]
        assert ends(diary) == {"one": 1, "two": 2, "three": 1}
        check_that_it_goes_on(first, diary, gate)
        assert recorded(first, execution) == before


def test_the_template_of_a_frozen_server_kills_what_runs_before_the_lease_ends(
    start: Start, diary: Path, gate: Path
) -> None:
    with start("first") as first:
        execution = stuck_at_the_gate(first, diary, gate)
        child = first.child_of(execution)
        freeze(first, first.pid)
        eventually(lambda: not is_alive(child), within=10, what="its process is killed")
        gate.touch()
        with start("second") as second:
            before = taken_over(second, execution)
            send(signal.SIGCONT, first.pid)
            eventually(lambda: "Lost the lease" in first.log, what="it knows")
            assert recorded(second, execution) == before
        assert written_by(child, diary) == ["one.begin", "one.end", "two.begin"]
        assert ends(diary) == {"one": 1, "two": 1, "three": 1}
        check_that_it_goes_on(first, diary, gate)
        assert recorded(first, execution) == before


def test_a_template_that_is_frozen_for_good_is_replaced(
    tmp_path: Path, diary: Path, gate: Path
) -> None:
    with running(COMMAND, tmp_path) as server:
        execution = stuck_at_the_gate(server, diary, gate)
        child, template = server.child_of(execution), server.template()
        assert template is not None
        send(signal.SIGSTOP, template)
        eventually(lambda: not is_alive(template), what="the template is given up")
        eventually(lambda: not is_alive(child), within=5, what="its children die with it")
        gate.touch()
        found = server.wait_for_end(execution)
        assert (found["status"], found["result"]) == ("completed", 3)
        assert [one["code"] for one in found["attempts"]] == ["worker_lost", None]
        assert ends(diary) == {"one": 1, "two": 1, "three": 1}
        check_that_it_goes_on(server, diary, gate)


def test_a_server_stops_in_time_although_its_template_is_frozen(
    tmp_path: Path, diary: Path, gate: Path
) -> None:
    start = partial(running, COMMAND, tmp_path, variables={"CREWSERVE_DRAIN_SECONDS": "0"})
    with start() as server:
        execution = stuck_at_the_gate(server, diary, gate)
        template = server.template()
        assert template is not None
        send(signal.SIGSTOP, template)
        server.stop(within=15)
        assert not server.processes()
    with start() as server:
        [attempt, *_] = server.get(execution)["attempts"]
        assert attempt["outcome"] == "handed_back"


def check_that_it_goes_on(server: Server, diary: Path, gate: Path) -> None:
    found = server.wait_for_end(
        server.execute_soon("gated", diary=str(diary), gate=str(gate)),
    )
    assert (found["status"], len(found["attempts"])) == ("completed", 1)
