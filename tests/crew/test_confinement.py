"""What a process can no longer do once it is confined."""

import json
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path

import pytest

from crewserve.crew.confinement import Confinement, Limits, landlock_version

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="walls are Linux's")

needs_landlock = pytest.mark.skipif(not landlock_version(), reason="the kernel has no Landlock")

BEGIN = """
import json, os, resource, sys
from crewserve.crew.confinement import Confinement, confine
confine(Confinement.of(json.loads(sys.argv[1])), None, None)
"""


def confined(confinement: Confinement, code: str) -> "subprocess.CompletedProcess[str]":
    """What becomes of *code* in a process of its own."""
    command = [sys.executable, "-c", BEGIN + code, json.dumps(asdict(confinement))]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.mark.parametrize(
    ("limits", "code", "refusal"),
    [
        (Limits(memory_bytes=50 * 2**20), "bytearray(100 * 2**20)", "MemoryError"),
        (
            Limits(file_bytes=2**20),
            "import tempfile; tempfile.TemporaryFile().write(bytes(2**21))",
            "File too large",
        ),
        (
            Limits(open_files=64),
            "files = [open('/dev/null') for _ in range(65)]",
            "Too many open files",
        ),
    ],
)
def test_limits_hold(limits: Limits, code: str, refusal: str) -> None:
    assert refusal in confined(Confinement(limits=limits), code).stderr
    assert confined(Confinement(), code).stderr == ""


def test_none_leaves_a_core_dump() -> None:
    code = "print(resource.getrlimit(resource.RLIMIT_CORE))"
    assert confined(Confinement(), code).stdout == "(0, 0)\n"


@needs_landlock
def test_what_stands_beside_the_way_stays_open(tmp_path: Path) -> None:
    private, beside = tmp_path / "data", tmp_path / "code"
    for folder in (private, beside):
        folder.mkdir()
        (folder / "file").write_text("there")
    (tmp_path / "file").write_text("there")
    code = f"""
def outcome(path):
    try:
        return open(path).read()
    except PermissionError:
        return "refused"
print(*(outcome({str(tmp_path)!r} + path) for path in ("/data/file", "/code/file", "/file")))
open({str(beside / "new")!r}, "w").close()
os.rename({str(beside / "new")!r}, {str(beside / "newer")!r})
"""
    run = confined(Confinement(private=[str(private)]), code)
    assert (run.stdout, run.stderr) == ("refused there there\n", "")


@needs_landlock
def test_what_is_new_beside_the_way_is_noticed(tmp_path: Path) -> None:
    private, beside = tmp_path / "data", tmp_path / "code"
    private.mkdir()
    beside.mkdir()
    confinement = Confinement(private=[str(private)])
    before = confinement.surroundings()
    (private / "new").touch()
    (beside / "new").touch()
    assert confinement.surroundings() == before
    (tmp_path / "new").touch()
    assert confinement.surroundings() != before


@needs_landlock
def test_a_link_to_what_is_private_opens_nothing(tmp_path: Path) -> None:
    private = tmp_path / "data"
    private.mkdir()
    (private / "file").write_text("there")
    (tmp_path / "link").symlink_to(private)
    run = confined(Confinement(private=[str(private)]), f"open({str(tmp_path / 'link/file')!r})")
    assert "PermissionError" in run.stderr


@needs_landlock
def test_nothing_that_it_executes_gets_further(tmp_path: Path) -> None:
    private = tmp_path / "data"
    private.mkdir()
    (private / "file").write_text("there")
    code = f"os.execv('/bin/cat', ['cat', {str(private / 'file')!r}])"
    assert "Permission denied" in confined(Confinement(private=[str(private)]), code).stderr
