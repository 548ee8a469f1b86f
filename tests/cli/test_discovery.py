from pathlib import Path

import pytest

from crewserve.cli.discovery import Found, find
from crewserve.cli.errors import CannotStart

FLOWS = """
from crewai.flow import flow
from crewai.flow.flow import Flow

class State: ...
class First(Flow[State]): ...
class Second(flow.Flow): ...
class NotAFlow: ...
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    package = tmp_path / "src/content/sub"
    package.mkdir(parents=True)
    for path in (package.parent, package):
        (path / "__init__.py").touch()
    (package.parent / "main.py").write_text(FLOWS)
    (package / "deep.py").write_text(FLOWS)
    (tmp_path / "alone.py").write_text(FLOWS)
    return tmp_path


def a_project(folder: Path, name: str = "content") -> None:
    text = f'[project]\nname = "{name}"\n[tool.crewai]\ntype = "flow"\n'
    (folder / "pyproject.toml").write_text(text)


@pytest.mark.parametrize(
    ("target", "refs", "path"),
    [
        ("content.main:First", ("content.main:First",), "src"),
        ("content.main", ("content.main:First", "content.main:Second"), "src"),
        ("src/content/main.py:First", ("content.main:First",), "src"),
        ("src/content/sub/deep.py:Second", ("content.sub.deep:Second",), "src"),
        ("src/content", ("content.main:First", "content.main:Second"), "src"),
        ("alone.py:First", ("alone:First",), "."),
        ("alone:Second", ("alone:Second",), "."),
    ],
)
def test_a_flow_is_found_by_module_and_by_path(
    folder: Path, target: str, refs: tuple[str, ...], path: str
) -> None:
    assert find([target], folder) == Found(refs, (str((folder / path).resolve()),))


@pytest.mark.parametrize("name", ["content", "something-else"])
def test_a_crewai_project_needs_no_names(folder: Path, name: str) -> None:
    a_project(folder, name)
    assert find([], folder).refs == ("content.main:First", "content.main:Second")


def test_several_flows_are_served_together(folder: Path) -> None:
    found = find(["content.main:First", "alone.py:Second"], folder)
    assert found.refs == ("content.main:First", "alone:Second")
    assert len(found.paths) == 2


def test_an_installed_module_is_left_to_the_import_system(folder: Path) -> None:
    assert find(["json.decoder:JSONDecoder"], folder).refs == ("json.decoder:JSONDecoder",)


@pytest.mark.parametrize(
    ("target", "message"),
    [
        ("missing.py:X", "no file missing.py"),
        ("no_such_module:X", "no module no_such_module"),
        ("json", "no module json"),
        ("empty.py", "defines no class that derives from Flow"),
        ("broken.py", "not valid Python, line 1"),
    ],
)
def test_what_cannot_be_found_is_said_at_once(folder: Path, target: str, message: str) -> None:
    (folder / "empty.py").write_text("x = 1\n")
    (folder / "broken.py").write_text("class (:\n")
    with pytest.raises(CannotStart, match=message):
        find([target], folder)


def test_a_folder_without_a_flow_project_is_refused_with_a_hint(tmp_path: Path) -> None:
    with pytest.raises(CannotStart, match="is no CrewAI flow project") as caught:
        find([], tmp_path)
    assert "crewserve serve" in str(caught.value.hint)
