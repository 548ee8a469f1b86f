"""Finished steps never run again, whatever dies."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.diary import began, ends
from tests.support.durable import STEPS, TARGETS
from tests.support.servers import FLOWS, Server, crewserve_serve, running
from tests.support.waiting import eventually

COMMAND = crewserve_serve(*TARGETS, f"{FLOWS}/durable.py:Racing")
NOW = {"backoff_seconds": "0", "max_attempts": "20"}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with running(COMMAND, tmp_path_factory.mktemp("durable")) as found:
        yield found.wait_for_flows()


@pytest.mark.parametrize(
    ("path", "step"), [(path, step) for path, steps in STEPS.items() for step in steps]
)
def test_a_process_killed_in_mid_step_goes_on_at_that_step(
    server: Server, tmp_path: Path, path: str, step: str
) -> None:
    diary = tmp_path / "diary"
    execution = server.execute(path, NOW, diary=str(diary), pause=0.3)
    eventually(lambda: began(diary, step), what=f"{step} runs")
    os.kill(server.child_of(execution), signal.SIGKILL)
    found = server.wait_for_end(execution)
    assert (found["status"], found["result"]) == ("completed", 3), found
    assert ends(diary) == STEPS[path]
    assert [one["outcome"] for one in found["attempts"]] == ["failed", "completed"]


def test_recorded_steps_are_shown_forked_and_retried(server: Server, tmp_path: Path) -> None:
    diary = tmp_path / "diary"
    done = server.run("linear", diary=str(diary))
    url = f"/api/v1/executions/{done['execution_id']}"
    steps = server.client.get(f"{url}/steps").json()["steps"]
    assert [(step["name"], step["result"], step["problem"]) for step in steps] == [
        ("one", 1, None),
        ("two", 2, None),
        ("three", 3, None),
    ]
    forked = server.client.post(f"{url}/fork", json={"from_step": "three"}).json()
    assert server.wait_for_end(forked["execution_id"])["result"] == 3
    assert ends(diary) == {"one": 1, "two": 1, "three": 2}


@pytest.mark.checks_inputs
def test_a_fork_may_only_replace_fields_that_the_state_has(server: Server, tmp_path: Path) -> None:
    done = server.run("linear", diary=str(tmp_path / "diary"))
    url = f"/api/v1/executions/{done['execution_id']}/fork"
    for from_step in ("one", "three"):
        wish = {"from_step": from_step, "state": {"tone": "friendly"}}
        answer = server.client.post(url, json=wish)
        assert (answer.status_code, answer.json()["code"]) == (422, "invalid_input")
        assert [error["field"] for error in answer.json()["errors"]] == ["state.tone"]
    assert server.all(flow_name="linear")[0]["execution_id"] == done["execution_id"]
    known = {"from_step": "three", "state": {"pause": 0.01}}
    forked = server.client.post(url, json=known).raise_for_status().json()["execution_id"]
    assert server.wait_for_end(forked)["status"] == "completed"


def test_a_race_that_is_lost_while_its_step_is_recorded_hangs_nothing(
    server: Server, tmp_path: Path
) -> None:
    accepted = [server.execute("racing", diary=str(tmp_path / str(one))) for one in range(30)]
    server.wait_until("completed", *accepted)
