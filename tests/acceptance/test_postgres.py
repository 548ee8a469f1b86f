"""The same server on PostgreSQL."""

from functools import partial
from pathlib import Path

import pytest

from tests.support import postgres
from tests.support.cutting import cutting
from tests.support.servers import FLOWS, Server, crewserve_serve, run_api, run_to_end, running
from tests.support.waiting import eventually

pytestmark = pytest.mark.own_ground

TROUBLE = FLOWS / "trouble.py"
COMMAND = crewserve_serve(f"{TROUBLE}:Sleeping", f"{TROUBLE}:Foreign", f"{FLOWS}/shapes.py:Routed")
VARIABLE = "CREWSERVE_DATABASE_URL"


def test_hosts_that_share_a_database_share_the_work(
    tmp_path: Path, empty_postgres_url: str
) -> None:
    settings = {VARIABLE: empty_postgres_url, "CREWSERVE_SLOTS": "1"}
    start = partial(running, COMMAND, variables=settings)
    with start(tmp_path / "one") as one, start(tmp_path / "two") as two:
        one.wait_for_flows()
        two.wait_for_flows()
        accepted = [one.execute("sleeping", seconds=600) for _ in range(2)]
        two.wait_until("running", *accepted)
        for host in (one, two):
            eventually(partial(has_one, host), what="each of them runs one")


def has_one(host: Server) -> bool:
    return len(list(host.data.glob("executions/[!.]*"))) == 1


def test_executions_outlive_a_crash_of_the_database(tmp_path: Path) -> None:
    with (
        postgres.private_server() as database,
        running(COMMAND, tmp_path, variables={VARIABLE: database.url}) as server,
    ):
        server.wait_for_flows()
        execution = server.execute("sleeping", seconds=2)
        server.wait_until("running", execution)
        database.stop_immediate()
        assert server.client.get(f"/api/v1/executions/{execution}").status_code == 503
        assert server.client.post("/api/v1/routed/execute", json={}).status_code == 503
        database.start()
        assert server.wait_for_end(execution)["status"] == "completed"
        assert server.run("routed")["status"] == "completed"


def test_a_claim_whose_commit_was_not_answered_costs_no_attempt(
    tmp_path: Path, empty_postgres_url: str
) -> None:
    """Its lease would end after two minutes."""
    with (
        cutting(empty_postgres_url, b"INSERT INTO attempts") as (url, cutter),
        running(COMMAND, tmp_path, variables={VARIABLE: url}) as server,
    ):
        server.wait_for_flows()
        server.client.post("/api/v1/routed/execute", json={})  # may share the commit
        [accepted] = eventually(server.all, what="it is recorded")
        found = server.wait_for_end(accepted["execution_id"], within=60)
        assert (found["status"], cutter.cuts) == ("completed", 1)
        assert [(one["number"], one["outcome"]) for one in found["attempts"]] == [
            (1, "handed_back"),
            (1, "completed"),
        ]


def test_what_its_encoding_lacks_ends_an_execution_truthfully(
    tmp_path: Path, latin_postgres_url: str
) -> None:
    settings = {VARIABLE: latin_postgres_url}
    with running(COMMAND, tmp_path, variables=settings) as server:
        server.wait_for_flows()
        found = server.run("foreign")
        assert (found["status"], found["error"]) == ("failed", r"no \U0001f370 is left")
        assert (found["error_details"]["code"], len(found["attempts"])) == ("flow_error", 1)
        url = f"/api/v1/executions/{found['execution_id']}/steps"
        [step] = server.client.get(url).json()["steps"]
        assert step["problem"].startswith("It cannot be stored: character with byte sequence")
        pending = server.execute("sleeping", seconds=600)
        reason = {"reason": "\N{SHORTCAKE}"}
        answer = server.client.post(f"/api/v1/executions/{pending}/cancel", json=reason)
        assert (answer.status_code, answer.json()["code"]) == (422, "value_refused")


@pytest.mark.parametrize(
    "url", ["postgresql://me:s3cret@127.0.0.1:1/mine", "mysql://me:s3cret@h/x"]
)
def test_a_database_that_cannot_be_used_is_one_clear_line(tmp_path: Path, url: str) -> None:
    ended = run_to_end(run_api("--port", "0"), tmp_path, variables={VARIABLE: url})
    assert (ended.returncode, ended.stdout) == (1, "")
    error, *hint = [line for line in ended.stderr.splitlines() if line]
    assert error.startswith("error: The database cannot be used: ")
    assert hint == [f"hint: {VARIABLE} names it"]
    assert "s3cret" not in ended.stderr
