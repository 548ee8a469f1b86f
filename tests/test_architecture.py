"""Rules that linters do not know."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
SOURCES = sorted((ROOT / "src").rglob("*.py"))
TESTS = sorted((ROOT / "tests").rglob("*.py"))
MAX_LINES, MAX_TEST_LINES, MAX_FUNCTION_LINES = 400, 600, 40

CLOCK_CALLS = {"now", "utcnow", "today", "uuid4", "uuid7"}
CLOCK_HOMES = {"bootstrap/ground.py", "http/request_id.py"}
ENVIRON_HOMES = {"settings.py", "crew/environment.py", "crew/rehearsal.py", "crew/model_server.py"}


def names(path: Path) -> str:
    return str(path.relative_to(ROOT / "src/crewserve"))


def ours() -> list[Path]:
    return [path for path in SOURCES if "crewserve" in path.parts]


def functions(path: Path) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node


@pytest.mark.parametrize("path", [*SOURCES, *TESTS], ids=lambda path: str(path.relative_to(ROOT)))
def test_files_and_functions_stay_small(path: Path) -> None:
    limit = MAX_TEST_LINES if path in TESTS else MAX_LINES
    assert len(path.read_text().splitlines()) <= limit
    long = {
        function.name: lines
        for function in functions(path)
        if (lines := (function.end_lineno or 0) - function.lineno + 1) > MAX_FUNCTION_LINES
    }
    assert long == {}


def test_files_of_the_deployment_are_thin() -> None:
    assert [path for path in SOURCES if "api" in path.parent.parts and _size(path) > 60] == []


def _size(path: Path) -> int:
    return len(path.read_text().splitlines())


def test_only_the_composition_root_asks_for_time_and_ids() -> None:
    found = {
        names(path)
        for path in ours()
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call) and _called(node) in CLOCK_CALLS
    }
    assert found <= CLOCK_HOMES


def _called(node: ast.Call) -> str:
    return str(getattr(node.func, "attr", None) or getattr(node.func, "id", ""))


def test_only_settings_and_children_touch_the_environment() -> None:
    found = {names(path) for path in ours() if "os.environ" in path.read_text()}
    assert found <= ENVIRON_HOMES


def test_nobody_assigns_a_status() -> None:
    for path in ours():
        for node in ast.walk(ast.parse(path.read_text())):
            targets = node.targets if isinstance(node, ast.Assign) else []
            assert not any(getattr(target, "attr", "") == "status" for target in targets), path


def test_an_api_process_loads_neither_crewai_nor_alembic() -> None:
    code = (
        "import sys, api.app\nprint(sorted({'crewai', 'alembic', 'xllamacpp'} & set(sys.modules)))"
    )
    assert _printed_by(code) == "[]"


def test_importing_the_package_loads_nothing() -> None:
    code = (
        "import sys; before = set(sys.modules); import crewserve; print(set(sys.modules) - before)"
    )
    assert _printed_by(code) == "{'crewserve'}"


def _printed_by(code: str) -> str:
    path = {"PYTHONPATH": str(ROOT / "src"), "PATH": ""}
    run = subprocess.run(
        [sys.executable, "-c", code], env=path, capture_output=True, text=True, check=True
    )
    assert run.stderr == ""
    return run.stdout.strip()


def test_the_layers_hold() -> None:
    run = subprocess.run(
        [Path(sys.executable).parent / "lint-imports"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stdout
