"""What is published installs in a clean environment, without CrewAI's weight."""

import subprocess
import sys
import tarfile
import venv
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
pytestmark = pytest.mark.timeout(300)


def run(*command: object, cwd: Path) -> str:
    done = subprocess.run(
        [str(part) for part in command], cwd=cwd, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


@pytest.fixture(scope="module")
def dist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An sdist, and the wheel built from it."""
    folder = tmp_path_factory.mktemp("dist")
    run(sys.executable, "-m", "build", "--outdir", folder, ROOT, cwd=ROOT)
    return folder


def wheel_in(dist: Path) -> Path:
    [wheel] = dist.glob("*.whl")
    return wheel


def test_the_wheel_ships_only_the_package(dist: Path) -> None:
    names = zipfile.ZipFile(wheel_in(dist)).namelist()
    tops = {name.split("/")[0] for name in names}
    assert tops == {"crewserve", next(top for top in tops if top.endswith(".dist-info"))}
    assert "crewserve/py.typed" in names
    assert "crewserve/storage/migrations/versions/v0001_executions.py" in names


def test_the_sdist_carries_what_a_build_needs_and_no_more(dist: Path) -> None:
    [sdist] = dist.glob("*.tar.gz")
    with tarfile.open(sdist) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    assert {"hatch_build.py", "LICENSE", "README.md", "pyproject.toml"} <= names
    assert not any(name.startswith(("src/api", "src/flows", "tests")) for name in names)


def test_a_clean_environment_gets_a_working_command_without_crewai(
    dist: Path, tmp_path: Path
) -> None:
    venv.create(tmp_path / "clean", with_pip=True)
    scripts = tmp_path / "clean/bin"
    run(scripts / "pip", "install", "--quiet", wheel_in(dist), cwd=tmp_path)
    assert run(scripts / "crewserve", "--version", cwd=tmp_path).strip()
    code = "import importlib.util as u; print(u.find_spec('crewai'), u.find_spec('api'))"
    assert run(scripts / "python", "-c", code, cwd=tmp_path).strip() == "None None"
    code = "from crewserve.serving import create_app; print(create_app().title)"
    assert run(scripts / "python", "-c", code, cwd=tmp_path).strip() == "crewserve"
