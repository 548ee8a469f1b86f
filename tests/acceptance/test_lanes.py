"""Limits, priorities and queues of real servers, whatever hands out the work."""

import shutil
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from pathlib import Path

import httpx
import pytest

from deploy.brokers import BrokerServer
from tests.support.servers import FLOWS, REPOSITORY, JsonObject, Server, run_api, running, working

APP = """
from crewserve.serving import FlowControl, WhenFull, create_app, flow_router

CONTROLS = {
    "each": FlowControl(queue="shared", max_running=1, per="gate", max_pending=2),
    "single": FlowControl(queue="shared", max_running=1, when_full=WhenFull.REJECT),
    "newest": FlowControl(max_running=1, when_full=WhenFull.CANCEL_RUNNING),
}

app = create_app()
for name, control in CONTROLS.items():
    router = flow_router("trouble:Gated", name=name, control=control)
    app.include_router(router, prefix=f"/api/v1/{name}")
"""


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("project")
    (root / "src" / "api").mkdir(parents=True)
    (root / "src" / "api" / "__init__.py").touch()
    (root / "src" / "api" / "app.py").write_text(APP)
    shutil.copy(REPOSITORY / "run_api.py", root)
    shutil.copy(FLOWS / "trouble.py", root / "src")
    return root


@pytest.fixture(scope="module")
def server(project: Path) -> Iterator[Server]:
    variables = {"PYTHONPATH": str(project / "src")}
    with running(run_api(root=project), project / "limits", variables=variables) as found:
        yield found.wait_for_flows()


def refused(server: Server, path: str, gate: Path) -> httpx.Response:
    answer = server.client.post(f"/api/v1/{path}/execute", json={"gate": str(gate)})
    assert (answer.status_code, int(answer.headers["Retry-After"]) >= 1) == (429, True)
    return answer


def test_of_each_value_one_runs_at_a_time(server: Server, tmp_path: Path) -> None:
    gates = [tmp_path / "first", tmp_path / "second"]
    lanes = [[server.execute("each", gate=str(gate)) for _ in range(3)] for gate in gates]
    server.wait_until("running", *(lane[0] for lane in lanes))
    assert [server.get(lane[1])["position"] for lane in lanes] == [1, 1]
    assert refused(server, "each", gates[0]).json()["code"] == "queue_full"
    for gate in gates:
        gate.touch()
    for lane in lanes:
        server.wait_until("completed", *lane)
        assert one_after_the_other([server.get(execution) for execution in lane])


def one_after_the_other(executions: Sequence[JsonObject]) -> bool:
    times = [time for one in executions for time in (one["started_at"], one["completed_at"])]
    return times == sorted(times)


def test_what_is_one_too_many_is_refused_until_there_is_room(
    server: Server, tmp_path: Path
) -> None:
    gate = tmp_path / "gate"
    first = server.execute("single", gate=str(gate))
    server.wait_until("running", first)
    assert refused(server, "single", gate).json()["code"] == "limit_reached"
    gate.touch()
    server.wait_until("completed", first)
    server.wait_until("completed", server.execute("single", gate=str(gate)))


def test_the_newest_takes_the_place_of_what_runs_and_of_what_waits(
    server: Server, tmp_path: Path
) -> None:
    gate = str(tmp_path / "gate")
    ran = server.execute("newest", gate=gate)
    server.wait_until("running", ran)
    server.client.post("/api/v1/queues/newest/pause").raise_for_status()
    waited = server.execute("newest", gate=gate)
    newest = server.execute("newest", gate=gate)
    server.wait_until("cancelled", ran, waited)
    server.client.post("/api/v1/queues/newest/resume").raise_for_status()
    server.wait_until("running", newest)
    (tmp_path / "gate").touch()
    server.wait_until("completed", newest)


@pytest.mark.own_ground
def test_workers_run_the_flows_of_their_queues_only(
    project: Path, tmp_path: Path, broker: BrokerServer, empty_postgres_url: str
) -> None:
    (tmp_path / "gate").touch()
    told = {
        "CREWSERVE_DATABASE_URL": empty_postgres_url,
        "CREWSERVE_BROKER_URL": broker.url_of_part(0),
        "PYTHONPATH": str(project / "src"),
    }

    def serving(queue: str) -> AbstractContextManager[Server]:
        variables = {**told, "CREWSERVE_QUEUES": queue}
        return working(tmp_path / queue, "--app", "api.app:app", variables=variables)

    with running(run_api(root=project), tmp_path, variables=told) as server, serving("shared"):
        other = server.execute("newest", gate=str(tmp_path / "gate"))
        server.wait_until("completed", server.execute("single", gate=str(tmp_path / "gate")))
        assert server.get(other)["status"] == "pending"
        with serving("newest"):
            server.wait_until("completed", other)
