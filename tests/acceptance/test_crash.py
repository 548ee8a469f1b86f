"""Crashes: nothing accepted is lost, nothing is left running, nothing says so for ever."""

import os
import signal
from collections.abc import Callable
from contextlib import AbstractContextManager
from functools import partial
from pathlib import Path

import pytest

from tests.support import processes
from tests.support.servers import FLOWS, TERMINAL, Server, crewserve_serve, running
from tests.support.waiting import eventually

COMMAND = crewserve_serve(
    f"{FLOWS}/trouble.py:Sleeping", f"{FLOWS}/trouble.py:Straying", f"{FLOWS}/shapes.py:Routed"
)

ONCE = {"max_attempts": "1"}

StartServer = Callable[[], AbstractContextManager[Server]]


@pytest.fixture
def start(tmp_path: Path) -> StartServer:
    """Each call starts a server on the same data folder."""
    return partial(running, COMMAND, tmp_path)


def test_after_kill_9_amid_50_executions_all_are_listed_and_none_runs_for_ever(
    start: StartServer,
) -> None:
    with start() as first:
        first.wait_for_flows()
        done = first.run("routed")["execution_id"]
        accepted = {first.execute("sleeping", ONCE, seconds=600) for _ in range(49)}
        accepted.add(first.execute("straying", ONCE))
        first.wait_until("running", *accepted)
        eventually(lambda: "sleep 600 " in commands(first), what="the stray runs")
        first.kill()
        eventually(lambda: commands(first) <= {"sleep 600 "}, what="only the stray is left")
        with start() as second:
            check_recovery(second, done, accepted)
            eventually(lambda: not first.processes(), within=10, what="nothing is left")


def commands(server: Server) -> set[str]:
    return {command for pid in server.processes() if (command := processes.command_of(pid))}


def check_recovery(server: Server, done: str, accepted: set[str]) -> None:
    assert {found["execution_id"] for found in server.all()} == {done, *accepted}
    eventually(lambda: all_ended(server), within=10, what="none runs or waits for ever")
    codes = {found["error_details"]["code"] for found in server.all(status="failed")}
    assert codes == {"worker_lost"}
    assert server.get(done)["status"] == "completed"


def all_ended(server: Server) -> bool:
    return all(found["status"] in TERMINAL for found in server.all())


def test_when_the_template_dies_its_executions_fail_and_later_ones_complete(
    start: StartServer,
) -> None:
    with start() as server:
        server.wait_for_flows()
        running_now = [server.execute("sleeping", ONCE, seconds=600) for _ in range(5)]
        server.wait_until("running", *running_now)
        template = server.template()
        assert template is not None
        os.kill(template, signal.SIGKILL)
        server.wait_until("failed", *running_now)
        codes = {found["error_details"]["code"] for found in server.all(status="failed")}
        assert codes == {"worker_lost"}
        eventually(lambda: is_accepted(server), what="the next template has loaded")
        assert server.run("sleeping", seconds=0)["result"] == "awake"
        assert server.template() != template


def is_accepted(server: Server) -> bool:
    """While flows load, inputs cannot be checked: the answer says when to ask again."""
    answer = server.client.post("/api/v1/sleeping/execute", json={"seconds": 0})
    if answer.is_success:
        return True
    assert (answer.status_code, answer.json()["code"]) == (503, "not_ready")
    assert int(answer.headers["Retry-After"]) > 0
    return False
