"""Delays and pauses on a real server."""

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any

import pytest

from tests.support.servers import FLOWS, Server, crewserve_serve, running


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    command = crewserve_serve(f"{FLOWS}/bakery/orders.py:Baking")
    with running(command, tmp_path_factory.mktemp("flow-control")) as found:
        yield found.wait_for_flows()


def queue(server: Server) -> dict[str, Any]:
    [found] = server.client.get("/api/v1/queues").raise_for_status().json()["queues"]
    return dict(found)


def test_a_start_that_is_put_off_begins_then_and_is_in_time(server: Server) -> None:
    later = server.execute("baking", {"delay_seconds": "3"})
    assert (server.get(later)["status"], queue(server)["scheduled"]) == ("pending", 1)
    found = server.wait_for_end(later)
    late = datetime.fromisoformat(found["started_at"]) - datetime.fromisoformat(
        found["available_at"]
    )
    assert timedelta() <= late < timedelta(seconds=4)


def test_nothing_of_a_paused_queue_begins_until_it_is_resumed(server: Server) -> None:
    server.client.post("/api/v1/queues/baking/pause").raise_for_status()
    waiting = [server.execute("baking") for _ in range(3)]
    assert [server.get(one)["position"] for one in waiting] == [1, 2, 3]
    assert (queue(server)["pending"], queue(server)["held"]) == (3, 3)
    server.client.post("/api/v1/queues/baking/resume").raise_for_status()
    server.wait_until("completed", *waiting)
    assert (queue(server)["pending"], queue(server)["paused_at"]) == (0, None)
