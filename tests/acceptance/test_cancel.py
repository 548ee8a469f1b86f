"""Cancelled means that the code has stopped."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support import processes
from tests.support.servers import FLOWS, Server, crewserve_serve, running
from tests.support.waiting import eventually

COMMAND = crewserve_serve(
    f"{FLOWS}/trouble.py:Sleeping", f"{FLOWS}/trouble.py:Straying", f"{FLOWS}/trouble.py:Gated"
)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with running(COMMAND, tmp_path_factory.mktemp("cancel")) as found:
        yield found.wait_for_flows()


def begun(server: Server, path: str, **inputs: Any) -> str:
    execution = server.execute(path, **inputs)
    server.wait_until("running", execution)
    return execution


@pytest.mark.parametrize("wish", [{"mode": "force"}, {"grace_seconds": 0.2}])
def test_a_flow_blocked_in_c_is_killed(server: Server, wish: dict[str, object]) -> None:
    execution = begun(server, "sleeping", seconds=3600)
    server.cancel(execution, **wish, reason="enough")
    found = server.wait_for_end(execution)
    assert (found["status"], found["cancel_reason"]) == ("cancelled", "enough")
    assert [one["outcome"] for one in found["attempts"]] == ["cancelled"]


def test_what_a_flow_started_in_a_session_of_its_own_is_killed_too(server: Server) -> None:
    execution = begun(server, "straying")
    eventually(lambda: strays(server), what="the stray runs")
    server.cancel(execution, mode="force")
    server.wait_until("cancelled", execution)
    assert not strays(server)


def strays(server: Server) -> list[int]:
    return [pid for pid in server.processes() if "sleep 600" in processes.command_of(pid)]


def test_a_flow_that_runs_python_stops_by_itself_within_the_grace(
    server: Server, tmp_path: Path
) -> None:
    execution = begun(server, "gated", gate=str(tmp_path / "gate"))
    server.cancel(execution, grace_seconds=60)
    assert server.wait_for_end(execution, within=10)["status"] == "cancelled"


def test_a_timeout_kills_and_may_be_retried(server: Server) -> None:
    options = {"timeout_seconds": "0.2", "max_attempts": "2", "backoff_seconds": "0"}
    execution = server.execute("sleeping", {**options, "retry_on": "timeout"}, seconds=3600)
    found = server.wait_for_end(execution)
    assert (found["status"], found["error_details"]["code"]) == ("failed", "timeout")
    assert [one["code"] for one in found["attempts"]] == ["timeout", "timeout"]


def test_the_server_goes_on(server: Server) -> None:
    assert server.run("sleeping", seconds=0)["result"] == "awake"
