"""The specification's section "Adding a New Flow API", followed letter for letter."""

import re
import shutil
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from tests.support.provider import POEM, Provider
from tests.support.servers import REPOSITORY, Server, run_api, running

SECTION = Path(__file__).with_name("adding_a_new_flow_api.md").read_text()
BODIES = {
    "your_flow": 'self.state.output = f"{self.state.param1} x {self.state.param2}"',
    "failing_flow": 'raise ValueError("the oven is cold")',
    "sleeping_flow": "time.sleep(600)",
}
FLOW = """
import time

from crewai.flow import Flow, start
from pydantic import BaseModel


class YourState(BaseModel):
    param1: str = "unset"
    param2: int = 10
    output: str = ""


class YourFlow(Flow[YourState]):
    @start()
    def work(self) -> None:
        {body}
"""


def code_under(heading: str) -> str:
    """The first Python block below *heading*."""
    found = re.search(rf"### \d\. {heading}.*?```python\n(.*?)```", SECTION, re.DOTALL)
    assert found, heading
    return found[1]


def add_flow(root: Path, name: str, body: str) -> None:
    """What a reader of the section does; only its placeholders are filled in."""

    def filled(text: str) -> str:
        path = name.replace("_", "-")
        placeholders = {"{flow_name}": name, "{flow-name}": path, "your_flow": name}
        for placeholder, value in placeholders.items():
            text = text.replace(placeholder, value)
        return text

    flow, api = root / "src" / "flows" / name, root / "src" / "api" / name
    flow.mkdir()
    api.mkdir()
    (flow / "__init__.py").touch()
    (flow / "main.py").write_text(FLOW.replace("{body}", body))
    (api / "__init__.py").write_text("from .router import router\n")
    (api / "models.py").write_text(filled(code_under("Define Models")))
    (api / "router.py").write_text(filled(code_under("Create Router")))
    with (root / "src" / "api" / "app.py").open("a") as app:
        app.write(filled(code_under("Register Router")))


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of this project with three flows more."""
    root = tmp_path_factory.mktemp("project")
    for folder in ("api", "flows"):
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(REPOSITORY / "src" / folder, root / "src" / folder, ignore=ignored)
    shutil.copy(REPOSITORY / "run_api.py", root)
    for name, body in BODIES.items():
        add_flow(root, name, body)
    return root


@pytest.fixture(scope="module")
def server(project: Path, provider: Provider) -> Iterator[Server]:
    command = run_api(root=project)
    folder = project / "run"
    with running(command, folder, cwd=project, variables=provider.variables) as found:
        yield found.wait_for_flows()


def test_the_new_flow_runs_and_shows_its_result(server: Server) -> None:
    answer = server.client.post("/api/v1/your-flow/execute", json={"param1": "cake"})
    execution_id = answer.raise_for_status().json()["execution_id"]
    assert answer.json() == {
        "execution_id": execution_id,
        "status": "pending",
        "message": f"Flow execution initiated with ID: {execution_id}",
    }
    server.wait_for_end(execution_id)
    shown = server.client.get(f"/api/v1/your-flow/execution/{execution_id}").json()
    assert (shown["status"], shown["flow_name"]) == ("completed", "your_flow")
    assert shown["result"] == {"output_field": "unset x 10"}
    assert shown["error"] is None
    assert shown["created_at"] <= shown["started_at"] <= shown["completed_at"]


def test_times_of_the_new_flow_look_like_all_others(server: Server) -> None:
    execution_id = server.run("your-flow", param1="cake")["execution_id"]
    shown = server.client.get(f"/api/v1/your-flow/execution/{execution_id}").json()
    for name in ("created_at", "started_at", "completed_at"):
        assert re.fullmatch(r"[\d-]{10}T[\d:]{8}\.\d{3}Z", shown[name]), name


def test_the_new_flow_is_listed_with_the_others(server: Server) -> None:
    execution_id = server.run("your-flow", param1="cake")["execution_id"]
    listed = server.all(flow_name="your_flow", status="completed")
    assert execution_id in {found["execution_id"] for found in listed}
    assert server.get(execution_id)["inputs"] == {"param1": "cake", "param2": 10}


def test_a_key_means_nothing_to_a_route_written_by_hand(server: Server) -> None:
    """As docs/adding-a-flow.md says."""
    answers = [
        server.client.post(
            "/api/v1/your-flow/execute",
            json={"param1": "cake"},
            headers={"Idempotency-Key": "order 7"},
        ).json()
        for _ in range(2)
    ]
    assert answers[0]["execution_id"] != answers[1]["execution_id"]


@pytest.mark.parametrize(
    ("body", "field"), [({}, "param1"), ({"param1": "cake", "param2": 101}, "param2")]
)
def test_wrong_parameters_of_the_new_flow_are_refused(
    server: Server, body: dict[str, object], field: str
) -> None:
    answer = server.client.post("/api/v1/your-flow/execute", json=body)
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid_input")
    assert [error["field"] for error in answer.json()["errors"]] == [field]


def test_an_unknown_id_is_answered_by_the_recipes_own_404(server: Server) -> None:
    for unknown in ("00000000-0000-7000-8000-000000000000", "no-id-at-all"):
        answer = server.client.get(f"/api/v1/your-flow/execution/{unknown}")
        assert (answer.status_code, answer.json()["detail"]) == (404, "Not found")
        assert answer.headers["Content-Type"] == "application/problem+json"


def test_a_failing_flow_ends_failed_with_the_flows_error(server: Server) -> None:
    found = server.run("failing-flow", param1="cake")
    assert (found["status"], found["error"]) == ("failed", "the oven is cold")
    assert found["result"] is None
    assert found["error_details"]["code"] == "flow_error"
    shown = server.client.get(f"/api/v1/failing-flow/execution/{found['execution_id']}").json()
    assert (shown["status"], shown["error"]) == ("failed", "the oven is cold")


def test_the_poem_flow_beside_it_still_works(server: Server) -> None:
    found = server.run("poem-flow", sentence_count=2)
    assert found["status"] == "completed", found
    assert found["result"] == {"sentence_count": 2, "poem": POEM}


def test_what_ran_in_a_killed_server_has_failed_after_the_restart(
    project: Path, tmp_path: Path, provider: Provider
) -> None:
    command = run_api(root=project)
    start = partial(running, command, tmp_path, cwd=project, variables=provider.variables)
    with start() as first:
        done = first.run("your-flow", param1="cake")["execution_id"]
        lost = first.execute("sleeping-flow", param1="cake")
        first.wait_until("running", lost)
        first.kill()
    with start() as second:
        found = second.wait_for_end(lost, within=10)
        assert found["status"] == "failed"
        assert found["error_details"]["code"] == "worker_lost"
        assert found["error"]
        assert second.get(done)["status"] == "completed"
