"""Workers are seen, drained and lost: an API that runs executions itself, and a worker."""

import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

import pytest

from tests.support import postgres
from tests.support.servers import FLOWS, JsonObject, Server, crewserve_serve, running, working
from tests.support.waiting import eventually

GATED = f"{FLOWS}/trouble.py:Gated"
AT_ONCE_SECONDS = 3.0
"""Longer than it takes on a busy machine, shorter than a heartbeat's pause."""


@dataclass
class Fleet:
    api: Server
    folder: Path
    variables: dict[str, str]

    def gate(self) -> Path:
        return self.folder / uuid4().hex

    def workers(self, **query: str) -> dict[int, JsonObject]:
        """By process."""
        found = self.api.client.get("/api/v1/workers", params=query).raise_for_status().json()
        return {worker["pid"]: worker for worker in found["workers"]}

    def ask(self, server: Server, wish: str) -> None:
        url = f"/api/v1/workers/{self.workers()[server.pid]['id']}/{wish}"
        self.api.client.post(url).raise_for_status()

    def drain(self, server: Server) -> None:
        """Returns when it has heard of it."""
        before = server.log.count("A drain was requested")
        self.ask(server, "drain")
        eventually(
            lambda: server.log.count("A drain was requested") > before, what="the drain is heard"
        )

    def wait_for(self, server: Server, **expected: object) -> JsonObject:
        def found() -> JsonObject | None:
            worker = self.workers().get(server.pid, {})
            return worker if expected.items() <= worker.items() else None

        return eventually(found, what=f"process {server.pid} is {expected}")


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def fleet(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Fleet]:
    folder, variables, server = tmp_path_factory.mktemp("fleet"), {}, ""
    name = postgres.new_name()
    if request.param == "postgresql":
        server = request.getfixturevalue("postgres_server")
        variables["CREWSERVE_DATABASE_URL"] = postgres.create_database(name, on=server)
    with running(crewserve_serve(GATED), folder / "api", variables=variables) as api:
        yield Fleet(api.wait_for_flows(), folder, variables)
    if server:
        postgres.drop_database(name, on=server)


def test_an_api_that_is_drained_runs_what_it_has_and_takes_nothing_until_it_is_resumed(
    fleet: Fleet,
) -> None:
    api, gate = fleet.api, fleet.gate()
    running = api.execute("gated", gate=str(gate))
    api.wait_until("running", running)
    seen = fleet.wait_for(api, state="active", running=1, flows=["gated"], engine="local")
    assert seen["memory_bytes"] > 20 * 2**20
    began = time.monotonic()
    fleet.drain(api)
    assert time.monotonic() - began < AT_ONCE_SECONDS
    waiting = api.execute("gated", gate=str(gate))
    gate.touch()
    assert api.wait_for_end(running)["status"] == "completed"
    fleet.wait_for(api, state="draining", running=0)
    assert api.get(waiting)["status"] == "pending"
    fleet.ask(api, "resume")
    assert api.wait_for_end(waiting)["status"] == "completed"
    fleet.wait_for(api, state="active")


@pytest.mark.parametrize("fleet", ["postgresql"], indirect=True)
def test_a_worker_that_is_drained_ends_when_what_it_runs_has(fleet: Fleet) -> None:
    api, gate = fleet.api, fleet.gate()
    fleet.drain(api)
    with working(fleet.folder / "first", GATED, variables=fleet.variables) as first:
        executions = [api.execute("gated", gate=str(gate)) for _ in range(3)]
        fleet.wait_for(first, running=3)
        fleet.drain(first)
        waiting = api.execute("gated", gate=str(gate))
        fleet.wait_for(first, state="draining", running=3)
        gate.touch()
        assert first.process.wait(30) == 0
        assert not first.processes()
        api.wait_until("completed", *executions)
        assert api.get(waiting)["status"] == "pending"
        fleet.wait_for(first, state="stopped", running=0)
    fleet.ask(api, "resume")
    assert api.wait_for_end(waiting)["status"] == "completed"


@pytest.mark.parametrize("fleet", ["postgresql"], indirect=True)
def test_a_worker_that_was_killed_is_lost(fleet: Fleet) -> None:
    with working(fleet.folder / "second", GATED, variables=fleet.variables) as second:
        fleet.wait_for(second, state="active")
        second.kill()
        fleet.wait_for(second, state="lost")
        assert second.pid in fleet.workers(state="lost", flow_name="gated")
