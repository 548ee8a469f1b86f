"""Stopping: what runs ends or is handed back, and nothing of the server is left."""

import signal
from collections.abc import Callable
from contextlib import AbstractContextManager
from functools import partial
from pathlib import Path

import pytest

from tests.support.servers import FLOWS, Server, crewserve_serve, running
from tests.support.waiting import eventually

COMMAND = crewserve_serve(f"{FLOWS}/trouble.py:Gated")

StartServer = Callable[[], AbstractContextManager[Server]]


@pytest.fixture
def start(tmp_path: Path) -> StartServer:
    """Each call starts a server on the same data folder."""
    return partial(running, COMMAND, tmp_path, variables={"CREWSERVE_DRAIN_SECONDS": "0"})


def test_a_server_whose_flows_still_load_stops_at_once(start: StartServer) -> None:
    with start() as server:
        assert server.template() is not None
        server.stop(within=10)
        assert not server.processes()
        assert "Traceback" not in server.log


def test_what_sigterm_interrupts_runs_to_its_end_after_a_restart(
    start: StartServer, tmp_path: Path
) -> None:
    gate = tmp_path / "gate"
    with start() as first:
        first.wait_for_flows()
        accepted = [first.execute("gated", gate=str(gate)) for _ in range(8)]
        first.wait_until("running", *accepted)
        assert first.stop(within=10) in (0, -signal.SIGTERM)
        assert not first.processes()
    gate.touch()
    with start() as second:
        second.wait_until("completed", *accepted)
        assert {second.get(one)["attempt"] for one in accepted} == {1}


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_to_the_whole_process_group_hands_back_what_runs(
    start: StartServer, tmp_path: Path, number: signal.Signals
) -> None:
    """Ctrl-C in a terminal, and systemd's stop, reach the template process as well."""
    with start() as first:
        first.wait_for_flows()
        accepted = [first.execute("gated", gate=str(tmp_path / "gate")) for _ in range(3)]
        first.wait_until("running", *accepted)
        first.signal(number, group=True)
        first.wait(10)
        assert not first.processes()
    with start() as second:
        found = {one: second.get(one)["status"] for one in accepted}
        assert set(found.values()) <= {"pending", "running"}, found


@pytest.fixture
def patient(tmp_path: Path) -> StartServer:
    """A server that waits a minute for what runs."""
    return partial(running, COMMAND, tmp_path, variables={"CREWSERVE_DRAIN_SECONDS": "60"})


def test_what_ends_in_the_drain_time_is_completed(patient: StartServer, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    with patient() as first:
        first.wait_for_flows()
        execution = first.execute("gated", gate=str(gate))
        first.wait_until("running", execution)
        first.signal(signal.SIGTERM)
        eventually(lambda: "Waiting up to 60 s" in first.log, what="the drain begins")
        gate.touch()
        first.wait(10)
    with patient() as second:
        found = second.get(execution)
        assert (found["status"], len(found["attempts"])) == ("completed", 1)


def test_a_second_signal_ends_the_drain(patient: StartServer, tmp_path: Path) -> None:
    with patient() as first:
        first.wait_for_flows()
        execution = first.execute("gated", gate=str(tmp_path / "gate"))
        first.wait_until("running", execution)
        first.signal(signal.SIGINT)
        eventually(lambda: "Waiting up to 60 s" in first.log, what="the drain begins")
        first.signal(signal.SIGINT)
        first.wait(10)
        assert not first.processes()
    with patient() as second:
        [attempt, *_] = second.get(execution)["attempts"]
        assert attempt["outcome"] == "handed_back"
