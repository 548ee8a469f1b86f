"""Several processes answer requests on one port; one of them runs what all of them accept."""

import os
import signal
import sqlite3
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from functools import partial
from itertools import pairwise
from pathlib import Path
from uuid import uuid4

import httpx
import pytest

from tests.support.servers import FLOWS, Server, crewserve_serve, run_to_end, running
from tests.support.waiting import A_WHILE, eventually
from tests.support.workers import asked_one_by_one, leader, workers

COUNT = 3
TARGETS = (
    *(f"{FLOWS}/trouble.py:{name}" for name in ("Sleeping", "Gated")),
    f"{FLOWS}/shapes.py:Routed",
)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Whoever kills one of its processes waits until it is replaced."""
    command = crewserve_serve(*TARGETS, "--workers", str(COUNT))
    with running(command, tmp_path_factory.mktemp("workers")) as found:
        yield found.wait_for_flows()


def start(client: httpx.Client, path: str, **inputs: object) -> str:
    answer = client.post(f"/api/v1/{path}/execute", json=inputs)
    return str(answer.raise_for_status().json()["execution_id"])


def test_what_one_accepts_all_show_and_any_cancels(server: Server) -> None:
    with asked_one_by_one(server, COUNT) as clients:
        assert set(clients) == workers(server)
        asked = list(clients.values())
        accepted = [start(client, "sleeping", seconds=3600) for client in asked]
        server.wait_until("running", *accepted)
        for client in asked:
            shown = client.get("/api/v1/executions", params={"status": "running"}).json()
            assert set(accepted) <= {one["execution_id"] for one in shown["executions"]}
        for execution, (_, another) in zip(accepted, pairwise([*asked, asked[0]]), strict=True):
            url = f"/api/v1/executions/{execution}/cancel"
            another.post(url, json={"mode": "force"}).raise_for_status()
        server.wait_until("cancelled", *accepted)
        for execution, client in zip(accepted, asked, strict=True):
            assert client.delete(f"/api/v1/executions/{execution}").status_code == 204
            assert client.get(f"/api/v1/executions/{execution}").status_code == 404


def test_each_knows_the_flows_and_refuses_wrong_inputs(server: Server) -> None:
    with asked_one_by_one(server, COUNT) as clients:
        for client in clients.values():
            flow = eventually(partial(loaded, client, "gated"), what="it knows the flow")
            assert flow["input_schema"]["required"] == ["gate"]
            refused = client.post("/api/v1/gated/execute", json={})
            assert (refused.status_code, refused.json()["code"]) == (422, "invalid_input")
            assert refused.json()["errors"][0]["field"] == "gate"


def loaded(client: httpx.Client, flow: str) -> dict[str, dict[str, object]] | None:
    found = client.get(f"/api/v1/flows/{flow}").json()
    return found if found["status"] == "ready" else None


def test_the_same_key_starts_one_execution_wherever_it_is_sent(server: Server) -> None:
    key = {"Idempotency-Key": uuid4().hex}
    with asked_one_by_one(server, COUNT) as clients, ThreadPoolExecutor() as threads:

        def send(client: httpx.Client) -> str | None:
            answer = client.post("/api/v1/routed/execute", json={}, headers=key)
            return answer.json()["execution_id"] if answer.is_success else None

        started = {one for one in threads.map(send, list(clients.values()) * 4) if one}
        assert len(started) == 1


def test_when_a_follower_is_killed_nobody_else_notices(server: Server, tmp_path: Path) -> None:
    execution = server.execute_soon("gated", gate=str(tmp_path / "gate"))
    server.wait_until("running", execution)
    before = leader(server)
    follower = next(pid for pid in workers(server) if pid != before)
    os.kill(follower, signal.SIGKILL)
    (tmp_path / "gate").touch()
    eventually(lambda: is_replaced(server, follower), what="another has taken its place")
    found = server.wait_for_end(execution)
    assert (found["status"], len(found["attempts"])) == ("completed", 1)
    assert leader(server) == before


def is_replaced(server: Server, killed: int) -> bool:
    found = workers(server)
    return killed not in found and len(found) == COUNT


def test_when_the_leader_is_killed_nothing_is_lost_and_nothing_doubled(
    server: Server, tmp_path: Path
) -> None:
    before, gate = leader(server), tmp_path / "gate"
    running_now = [server.execute_soon("gated", gate=str(gate)) for _ in range(20)]
    server.wait_until("running", *running_now)
    with ThreadPoolExecutor(10) as threads:
        submitted = threads.map(partial(submit_until_accepted, server.url), range(50))
        os.kill(before, signal.SIGKILL)
        accepted = list(submitted)
    gate.touch()
    eventually(lambda: is_replaced(server, before), what="another has taken its place")
    server.wait_until("completed", *running_now, *accepted)
    assert leader(server) != before
    listed = [one["execution_id"] for one in server.all(flow_name="routed")]
    assert len(listed) == len(set(listed))
    assert len(set(accepted)) == 50
    for execution in running_now:
        outcomes = [one["outcome"] for one in server.get(execution)["attempts"]]
        assert outcomes == ["lost", "completed"]


def submit_until_accepted(url: str, number: int) -> str:
    """With the same key however often the connection breaks, or no flow is loaded."""
    key = {"Idempotency-Key": uuid4().hex}
    deadline = time.monotonic() + A_WHILE
    while time.monotonic() < deadline:
        try:
            answer = httpx.post(f"{url}/api/v1/routed/execute", json={}, headers=key, timeout=60)
        except httpx.TransportError:
            continue
        if answer.is_success:
            return str(answer.json()["execution_id"])
        assert answer.json()["code"] in {"not_ready", "idempotency_in_flight"}
        time.sleep(0.1)
    raise AssertionError("Not accepted")


@pytest.mark.own_ground  # its end is read from the file
def test_a_stop_that_is_told_to_all_of_them_lets_what_runs_end(tmp_path: Path) -> None:
    """As service managers do; a second signal to the parent would end the wait."""
    command = crewserve_serve(*TARGETS, "--workers", "2")
    patient = {"CREWSERVE_DRAIN_SECONDS": "600"}
    with running(command, tmp_path, variables=patient) as server:
        start_gated(server, tmp_path / "gate")
        for pid in {server.pid, *workers(server)}:
            os.kill(pid, signal.SIGTERM)
        eventually(lambda: "Waiting up to 600 s" in server.log, what="the drain begins")
        eventually(lambda: len(workers(server)) == 1, what="the follower has ended")
        (tmp_path / "gate").touch()
        assert server.process.wait(60) == 0
        eventually(lambda: not server.processes(), within=10, what="nothing is left")
        assert status_of(server) == "completed"


@pytest.mark.own_ground  # its end is read from the file
def test_a_second_signal_ends_the_wait(tmp_path: Path) -> None:
    command = crewserve_serve(*TARGETS, "--workers", "2")
    patient = {"CREWSERVE_DRAIN_SECONDS": "600"}
    with running(command, tmp_path, variables=patient) as server:
        start_gated(server, tmp_path / "gate")
        server.process.send_signal(signal.SIGINT)
        eventually(lambda: "Waiting up to 600 s" in server.log, what="the drain begins")
        server.process.send_signal(signal.SIGINT)
        server.process.wait(60)
        eventually(lambda: not server.processes(), within=10, what="nothing is left")
        assert status_of(server) == "pending"


def start_gated(server: Server, gate: Path) -> None:
    execution = server.execute_soon("gated", gate=str(gate))
    server.wait_until("running", execution)


def status_of(server: Server) -> str:
    """Of its only execution, when it has ended itself."""
    with closing(sqlite3.connect(server.data / "crewserve.db")) as database:
        return str(database.execute("SELECT status FROM executions").fetchone()[0])


def test_when_the_parent_is_killed_its_processes_end(tmp_path: Path) -> None:
    command = crewserve_serve(*TARGETS, "--workers", "2")
    with running(command, tmp_path) as server:
        eventually(lambda: len(workers(server)) == 2, what="both have started")
        server.kill()
        eventually(lambda: not server.processes(), what="nothing is left")


def test_reload_needs_a_single_process(tmp_path: Path) -> None:
    ended = run_to_end(crewserve_serve(*TARGETS, "--workers", "2", "--reload"), tmp_path)
    assert (ended.returncode, ended.stdout) == (1, "")
    assert ended.stderr.startswith("error: --reload needs a single process\n\nhint: ")


def test_gunicorn_serves_the_same_app(tmp_path: Path) -> None:
    command = [str(Path(sys.executable).with_name("gunicorn")), "crewserve.cli.app:app"]
    command += ["--worker-class", "uvicorn_worker.UvicornWorker", "--workers", "2"]
    command += ["--bind", "127.0.0.1:0", "--error-logfile", "/dev/stdout"]
    variables = {"CREWSERVE_FLOWS": "shapes:Routed", "PYTHONPATH": str(FLOWS)}
    with running(command, tmp_path, variables=variables, port=None) as server:
        server.wait_for_flows()
        with asked_one_by_one(server, 2) as clients:
            accepted = [start_soon(client, "routed") for client in clients.values()]
        server.wait_until("completed", *accepted)
        server.stop(within=60)
        eventually(lambda: not server.processes(), within=10, what="nothing is left")


def start_soon(client: httpx.Client, path: str) -> str:
    eventually(partial(loaded, client, path), what="it knows the flow")
    return start(client, path)
