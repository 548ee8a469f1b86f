"""`/metrics` of real servers and workers."""

import os
import re
import signal
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.support.servers import FLOWS, Server, crewserve_serve, running, working
from tests.support.waiting import eventually
from tests.support.workers import asked_one_by_one, leader

pytestmark = pytest.mark.own_ground
FLOW = f"{FLOWS}/shapes.py:SeveralStarts"
RAISING = f"{FLOWS}/trouble.py:Raising"

Samples = Mapping[tuple[str, ...], float]
"""By their names and the values of their labels."""


def samples_of(text: str) -> Samples:
    return {
        (sample.name.removeprefix("crewserve_"), *sample.labels.values()): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def asked(client: httpx.Client) -> Samples:
    answer = client.get("/metrics").raise_for_status()
    assert answer.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    return defaultdict(float, samples_of(answer.text))


def scraped(server: Server) -> Samples:
    """By whichever process takes the connection."""
    with httpx.Client(base_url=server.url) as client:
        return asked(client)


def wait_until_told(client: httpx.Client, sample: tuple[str, ...], value: float) -> None:
    """Processes tell each other within seconds."""
    eventually(lambda: asked(client)[sample] == value, what=f"{sample} is {value}")


def test_every_process_answers_for_all_also_for_one_that_was_killed(tmp_path: Path) -> None:
    with running(crewserve_serve(FLOW, RAISING, "--workers", "2"), tmp_path) as server:
        server.wait_for_flows()
        with asked_one_by_one(server, 2) as clients:
            for client in clients.values():
                client.post("/api/v1/several-starts/execute", json={}).raise_for_status()
            server.run("raising")
            server.wait_until("completed", *(one["execution_id"] for one in server.all()[1:]))
            for client in clients.values():
                wait_until_told(client, ("executions_finished_total", "raising", "failed"), 1)
                found = asked(client)
                assert found["executions_accepted_total", "several_starts"] == 2
                assert found["executions_finished_total", "several_starts", "completed"] == 2
                assert found["execution_wait_seconds_count", "several_starts"] == 2
                assert found["children", "idle"] > 0
                assert found["children_forked_total",] >= 3
                assert found["child_resident_bytes_max",] > 2**20
        killed = leader(server)
        os.kill(killed, signal.SIGKILL)
        eventually(lambda: leader(server) != killed, what="another one leads")
        route = "/api/v1/several-starts/execute"
        with asked_one_by_one(server, 2) as clients:
            for client in clients.values():
                wait_until_told(client, ("http_requests_total", "POST", route, "2xx"), 2)
        for _ in range(10):
            after = scraped(server)
            assert after["executions_finished_total", "raising", "failed"] == 1
            assert after["http_requests_total", "POST", route, "2xx"] == 2
            assert after["executions_accepted_total", "several_starts"] == 2


def test_a_worker_has_a_port_of_its_own_if_wanted(tmp_path: Path, empty_postgres_url: str) -> None:
    variables = {"CREWSERVE_DATABASE_URL": empty_postgres_url, "CREWSERVE_METRICS_PORT": "0"}
    with working(tmp_path, FLOW, variables=variables) as worker:
        url = re.search(r"http://\S+/metrics", worker.log)
        assert url is not None

        def idle() -> bool:
            return samples_of(httpx.get(url[0]).text)["children", "idle"] > 0

        eventually(idle, what="it can run something")
        assert worker.stop() == 0
