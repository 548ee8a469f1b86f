"""One clear line when a worker cannot start, and the flows of an app."""

from pathlib import Path

import pytest

from tests.support.servers import FLOWS, REPOSITORY, crewserve_serve, run_to_end, working

DATABASE = {"CREWSERVE_DATABASE_URL": "postgresql://nobody@127.0.0.1:1/nothing"}
FLOW = f"{FLOWS}/trouble.py:Gated"


@pytest.mark.parametrize(
    ("arguments", "variables", "error"),
    [
        ([FLOW], {}, "A worker needs CREWSERVE_DATABASE_URL"),
        ([], DATABASE, "No flow was named, and "),
        ([FLOW], DATABASE, "The database cannot be used: "),
        (["--app", "missing.app:app"], DATABASE, "The app missing.app:app cannot be imported: "),
        (["--app", "json:dumps"], DATABASE, "json:dumps is no app of crewserve"),
        (["--app", "crewserve.cli.app:app"], DATABASE, "The app crewserve.cli.app:app serves no "),
    ],
)
def test_a_worker_that_cannot_start_says_why_in_one_line(
    tmp_path: Path, arguments: list[str], variables: dict[str, str], error: str
) -> None:
    command = [crewserve_serve()[0], "worker", *arguments]
    ended = run_to_end(command, tmp_path, variables=variables)
    assert (ended.returncode, ended.stdout) == (1, "")
    first, *rest = [line for line in ended.stderr.splitlines() if line]
    assert first.startswith(f"error: {error}")
    assert [line for line in rest if not line.startswith("hint: ")] == []


def test_a_worker_serves_the_flows_of_the_project_s_app_from_the_database_alone(
    tmp_path: Path, empty_postgres_url: str
) -> None:
    variables = {"CREWSERVE_DATABASE_URL": empty_postgres_url, "MODEL": "openai/none"}
    with working(tmp_path, "--app", "api.app:app", variables=variables, cwd=REPOSITORY) as worker:
        assert "slots for poem_flow" in worker.stdout
        assert worker.stop() == 0
        assert not worker.processes()
        assert "Traceback" not in worker.log
