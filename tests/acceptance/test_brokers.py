"""API processes and workers that know each other through PostgreSQL and a broker only."""

import signal
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

import pytest

from deploy.brokers import BrokerServer
from tests.support import postgres
from tests.support.diary import began, ends
from tests.support.servers import FLOWS, Server, crewserve_serve, running, working
from tests.support.waiting import eventually

pytestmark = pytest.mark.own_ground

TARGETS = (
    *(f"{FLOWS}/trouble.py:{name}" for name in ("Sleeping", "Gated", "Straying")),
    f"{FLOWS}/durable.py:Linear",
    f"{FLOWS}/shapes.py:Routed",
    f"{FLOWS}/broken.py:Broken",
)
ELSEWHERE = f"{FLOWS}/durable.py:Parallel"
"""No worker serves it until a test starts one."""

ONCE = Counter({"one": 1, "two": 1, "three": 1})


@dataclass
class Cluster:
    folder: Path
    broker: BrokerServer
    variables: dict[str, str]
    api: Server
    worker: Server

    def new_file(self) -> Path:
        return self.folder / "files" / uuid4().hex


@pytest.fixture(scope="module")
def cluster(
    broker: BrokerServer, postgres_server: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Cluster]:
    """One API, one worker. Whatever a test breaks of it is whole again when the test ends."""
    name, folder = postgres.new_name(), tmp_path_factory.mktemp("cluster")
    (folder / "files").mkdir()  # flows may not write beside the data of a server
    variables = {
        "CREWSERVE_DATABASE_URL": postgres.create_database(name, on=postgres_server),
        "CREWSERVE_BROKER_URL": broker.url,
        "CREWSERVE_REDIS_VISIBILITY_SECONDS": "5",
        "CREWSERVE_DRAIN_SECONDS": "0",
    }
    with (
        running(crewserve_serve(*TARGETS, ELSEWHERE), folder / "api", variables=variables) as api,
        working(folder / "worker", *TARGETS, variables=variables) as worker,
    ):
        eventually(lambda: api.flows()["linear"]["status"] == "ready", what="flows are reported")
        yield Cluster(folder, broker, variables, api, worker)
    postgres.drop_database(name, on=postgres_server)


def test_what_an_api_accepts_is_run_by_a_worker(cluster: Cluster) -> None:
    completed = cluster.api.run("routed")
    assert completed["status"] == "completed"
    assert len(completed["attempts"]) == 1
    assert f"{completed['execution_id']} of routed is completed" in cluster.worker.log


def test_an_api_loads_no_flow_and_knows_of_each_what_workers_report(cluster: Cluster) -> None:
    assert cluster.api.processes() == {cluster.api.pid}
    flows = cluster.api.flows()
    del flows["parallel"]  # nobody serves it, or another test has let somebody: see there
    assert flows.pop("broken")["status"] == "broken"
    assert {flow["status"] for flow in flows.values()} == {"ready"}
    detail = cluster.api.client.get("/api/v1/flows/linear").json()
    assert [node["name"] for node in detail["graph"]["nodes"]] == ["one", "two", "three"]
    refused = cluster.api.client.post("/api/v1/broken/execute", json={})
    assert (refused.status_code, refused.json()["code"]) == (503, "flow_unavailable")


def test_inputs_are_refused_by_the_schema_or_by_the_worker(cluster: Cluster) -> None:
    refused = cluster.api.client.post("/api/v1/gated/execute", json={})
    assert refused.status_code == 422
    assert refused.json()["errors"][0]["field"] == "gate"
    failed = cluster.api.run("sleeping", seconds="soon")
    assert (failed["status"], failed["error_details"]["code"]) == ("failed", "invalid_input")
    assert cluster.api.run("sleeping", seconds="0.1")["status"] == "completed"


def test_a_cancel_reaches_the_worker_at_once(cluster: Cluster) -> None:
    """A lease is renewed, and so looked at, every thirty seconds only."""
    execution = cluster.api.execute("straying")
    cluster.api.wait_until("running", execution)
    cluster.api.cancel(execution, mode="force")
    assert cluster.api.wait_for_end(execution, within=10)["status"] == "cancelled"


def test_what_runs_outlives_the_broker_and_what_is_accepted_meanwhile_is_run(
    cluster: Cluster,
) -> None:
    api, gate = cluster.api, cluster.new_file()
    diaries = [cluster.new_file() for _ in range(12)]
    gated = [api.execute("gated", gate=str(gate)) for _ in range(4)]
    begun = [api.execute("linear", diary=str(diary), pause=1.5) for diary in diaries[:4]]
    api.wait_until("running", *gated, *begun)
    cluster.broker.kill()
    meanwhile = [api.execute("linear", diary=str(diary)) for diary in diaries[4:]]
    gate.touch()
    api.wait_until("completed", *gated, *begun)
    cluster.broker.start()
    api.wait_until("completed", *meanwhile)
    assert [ends(diary) for diary in diaries] == [ONCE] * 12
    for execution in (*gated, *begun, *meanwhile):
        assert len(api.get(execution)["attempts"]) == 1


@pytest.mark.parametrize("broker", ["redis"], indirect=True)
def test_an_execution_longer_than_the_visibility_timeout_runs_once(cluster: Cluster) -> None:
    """Five seconds here; Redis is asked every ten."""
    gate = cluster.new_file()
    execution = cluster.api.execute("gated", gate=str(gate))
    again = f"Execution {execution} was delivered, but"
    eventually(lambda: again in cluster.worker.log, what="its message comes again")
    assert cluster.api.get(execution)["status"] == "running"
    gate.touch()
    completed = cluster.api.wait_for_end(execution)
    assert (completed["status"], len(completed["attempts"])) == ("completed", 1)


def test_when_a_worker_stops_another_goes_on_at_once(cluster: Cluster) -> None:
    gate = cluster.new_file()
    with working(cluster.folder / "second", *TARGETS, variables=cluster.variables) as second:
        eventually(lambda: "Consuming" in second.log, what="the second worker consumes")
        accepted = [cluster.api.execute("gated", gate=str(gate)) for _ in range(6)]
        cluster.api.wait_until("running", *accepted)
        second.stop()
        assert not second.processes()
        cluster.api.wait_until("running", *accepted)
        gate.touch()
        cluster.api.wait_until("completed", *accepted)
        assert {cluster.api.get(one)["attempt"] for one in accepted} == {1}


def test_a_drained_worker_ends_when_what_it_runs_has_and_is_delivered_nothing_more(
    cluster: Cluster,
) -> None:
    api, gate = cluster.api, cluster.new_file()
    with working(cluster.folder / "second", *TARGETS, variables=cluster.variables) as second:
        eventually(lambda: "Consuming" in second.log, what="the second worker consumes")
        accepted = [api.execute("gated", gate=str(gate)) for _ in range(6)]
        api.wait_until("running", *accepted)
        workers = api.client.get("/api/v1/workers", params={"state": "active"}).json()["workers"]
        drained = {worker["pid"]: worker for worker in workers}[second.pid]
        assert (drained["engine"], drained["running"] > 0) == ("celery", True)
        api.client.post(f"/api/v1/workers/{drained['id']}/drain").raise_for_status()
        eventually(lambda: "A drain was requested" in second.log, what="it is heard")
        assert api.run("routed")["status"] == "completed"
        assert "of routed" not in second.log
        gate.touch()
        assert second.process.wait(30) == 0
        assert not second.processes()
        shown = api.client.get(f"/api/v1/workers/{drained['id']}").json()
        assert (shown["state"], shown["running"]) == ("stopped", 0)
        api.wait_until("completed", *accepted)
        assert {api.get(one)["attempt"] for one in accepted} == {1}


def test_when_a_worker_is_killed_another_goes_on_where_it_was(cluster: Cluster) -> None:
    with working(cluster.folder / "second", *TARGETS, variables=cluster.variables) as second:
        eventually(lambda: "Consuming" in second.log, what="the second worker consumes")
        diaries = [cluster.new_file() for _ in range(6)]
        accepted = [cluster.api.execute("linear", diary=str(it), pause=1) for it in diaries]
        eventually(lambda: all(began(diary, "two") for diary in diaries), what="all run")
        second.kill()
        for execution in accepted:
            assert cluster.api.wait_for_end(execution, within=60)["status"] == "completed"
    steps = [cluster.api.client.get(f"/api/v1/executions/{one}/steps").json() for one in accepted]
    for diary, recorded in zip(diaries, steps, strict=True):
        assert (ends(diary)["one"], len(recorded["steps"])) == (1, 3)


def test_a_flow_waits_for_a_worker_that_serves_it_whose_drain_a_second_signal_ends(
    cluster: Cluster,
) -> None:
    assert cluster.api.flows()["parallel"]["status"] == "loading"
    execution = cluster.api.execute("parallel", diary=str(cluster.new_file()), pause=600)
    patient = {**cluster.variables, "CREWSERVE_DRAIN_SECONDS": "600"}
    with working(cluster.folder / "third", ELSEWHERE, variables=patient) as third:
        cluster.api.wait_until("running", execution)
        third.process.send_signal(signal.SIGTERM)
        eventually(lambda: "Waiting up to 600 s" in third.log, what="the drain begins")
        third.process.send_signal(signal.SIGTERM)
        third.process.wait(20)
        assert not third.processes()
    assert cluster.api.get(execution)["attempts"][0]["outcome"] == "handed_back"
