"""`crewserve serve` in a CrewAI project folder, without naming a flow."""

from pathlib import Path

import pytest

from tests.support.servers import crewserve_serve, run_to_end, running

PYPROJECT = """
[project]
name = "greeting-desk"
version = "0.1.0"

[tool.crewai]
type = "flow"
"""
MAIN = """
from crewai.flow import Flow, listen, start

from greeting_desk.words import GREETING


class GreetingFlow(Flow):
    @start()
    def greet(self):
        return f"{GREETING}, {self.state['name']}"


def kickoff():
    GreetingFlow().kickoff()
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """As `crewai create flow` lays it out."""
    package = tmp_path / "src" / "greeting_desk"
    package.mkdir(parents=True)
    (tmp_path / "pyproject.toml").write_text(PYPROJECT)
    (package / "__init__.py").touch()
    (package / "words.py").write_text('GREETING = "Good morning"\n')
    (package / "main.py").write_text(MAIN)
    return tmp_path


def test_the_flow_of_a_crewai_project_is_served_without_naming_it(
    project: Path, tmp_path: Path
) -> None:
    with running(crewserve_serve(), tmp_path / "run", cwd=project) as server:
        assert server.wait_for_flows().flows().keys() == {"greeting_flow"}
        found = server.run("greeting-flow", name="Ada")
        assert (found["status"], found["result"]) == ("completed", "Good morning, Ada")


def test_two_flows_of_one_name_are_one_clear_line(project: Path, tmp_path: Path) -> None:
    (project / "other.py").write_text(MAIN)
    command = crewserve_serve("src/greeting_desk/main.py", "other.py", "--port", "0")
    ended = run_to_end(command, tmp_path, cwd=project)
    assert ended.returncode == 1
    assert "Traceback" not in ended.stderr
    error = ended.stderr.splitlines()[0]
    assert error.startswith("error: ")
    assert "greeting_flow" in error


@pytest.mark.parametrize(
    ("target", "words"),
    [
        ((), "is no CrewAI flow project"),
        (("nowhere.py:Flow",), "nowhere.py"),
        (("no.such.module:Flow",), "no.such.module"),
        (("empty.py",), "defines no class that derives from Flow"),
        (("wrong.py",), "is not valid Python"),
    ],
)
def test_a_flow_that_cannot_be_found_is_one_clear_line(
    tmp_path: Path, target: tuple[str, ...], words: str
) -> None:
    (tmp_path / "empty.py").touch()
    (tmp_path / "wrong.py").write_text("def :\n")
    ended = run_to_end(crewserve_serve(*target), tmp_path)
    assert (ended.returncode, ended.stdout) == (1, "")
    error, *hint = [line for line in ended.stderr.splitlines() if line]
    assert error.startswith("error: ")
    assert words in error
    assert all(line.startswith("hint: ") for line in hint)
