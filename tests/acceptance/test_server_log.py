"""What a real server writes to its log."""

import json
import signal
from pathlib import Path

import pytest

from tests.support.servers import FLOWS, Server, crewserve_serve, running
from tests.support.waiting import eventually

JSON = {"CREWSERVE_LOG_FORMAT": "json"}

pytestmark = pytest.mark.own_ground


def lines_of(server: Server) -> list[dict[str, object]]:
    """All that it has written, whoever wrote it."""
    return [json.loads(line) for line in server.log.splitlines() if line.endswith("}")]


def test_every_line_is_json_and_says_what_it_belongs_to(tmp_path: Path) -> None:
    with running(
        crewserve_serve(f"{FLOWS}/shapes.py:SeveralStarts"), tmp_path, variables=JSON
    ) as server:
        server.wait_for_flows()
        execution_id = server.run("several-starts")["execution_id"]

        def end() -> dict[str, object] | None:
            about = [line for line in lines_of(server) if line.get("execution_id") == execution_id]
            return next((line for line in about if "is completed" in str(line["message"])), None)

        line = eventually(end, what="its end is logged")
        assert (line["logger"], line["flow"]) == ("crewserve.worker.supervisor", "several_starts")
        answered = [line for line in lines_of(server) if line["logger"] == "crewserve.access"]
        assert {line["route"] for line in answered} >= {
            "/api/v1/flows",
            "/api/v1/several-starts/execute",
            "/api/v1/executions/{execution_id}",
        }
        assert all(line["request_id"] for line in answered)
        assert server.stop() in (0, -signal.SIGTERM)
        assert len(lines_of(server)) == len(server.log.splitlines())
        assert any(line["message"] == "Application shutdown complete." for line in lines_of(server))


def test_an_access_log_can_be_left_out(tmp_path: Path) -> None:
    variables = {**JSON, "CREWSERVE_ACCESS_LOG": "false"}
    with running(
        crewserve_serve(f"{FLOWS}/shapes.py:SeveralStarts"), tmp_path, variables=variables
    ) as server:
        server.wait_for_flows()
        assert all(line["logger"] != "crewserve.access" for line in lines_of(server))
