"""`run_api.py --reload`: for people who are writing a flow."""

import shutil
from pathlib import Path

import pytest

from tests.support import processes
from tests.support.servers import REPOSITORY, Server, run_api, running
from tests.support.waiting import eventually

pytestmark = pytest.mark.own_ground

MORE = """

@app.get("/more")
async def more() -> str:
    return "there is more"
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    for folder in ("api", "flows"):
        shutil.copytree(REPOSITORY / "src" / folder, tmp_path / "src" / folder)
    shutil.copy(REPOSITORY / "run_api.py", tmp_path)
    return tmp_path


def has_more(server: Server) -> bool:
    return server.responds() and server.client.get("/more").is_success


def workers(server: Server) -> set[int]:
    """The reloaded process and its own; not the two that stay, which watch the files."""
    started = ("crewserve.crew.template", "spawn_main")
    return {
        pid
        for pid in server.processes()
        if any(part in processes.command_of(pid) for part in started)
    }


def test_a_changed_file_is_served_after_a_moment_and_nothing_is_left(
    project: Path, tmp_path: Path
) -> None:
    with running(run_api("--reload", root=project), tmp_path / "run", cwd=project) as server:
        before = workers(server)
        assert before
        assert not has_more(server)
        with (project / "src" / "api" / "app.py").open("a") as app:
            app.write(MORE)
        eventually(lambda: has_more(server), what="the new route answers")
        eventually(lambda: not workers(server) & before, within=10, what="the old one is gone")
        server.stop(within=15)
        eventually(lambda: not server.processes(), within=5, what="nothing is left")


def test_a_changed_flow_is_loaded_anew(project: Path, tmp_path: Path) -> None:
    flow = project / "src" / "flows" / "poem_flow" / "main.py"
    with running(run_api("--reload", root=project), tmp_path / "run", cwd=project) as server:
        flow.write_text(flow.read_text().replace("Write a short poem", "Write a fine poem"))
        eventually(
            lambda: (
                server.responds() and "fine" in (server.flows()["poem_flow"]["description"] or "")
            ),
            what="the changed flow is described",
        )
