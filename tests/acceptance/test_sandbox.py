"""What a flow can get at: nothing of the server's, nothing of another execution's."""

import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from crewserve.crew.confinement import landlock_version
from tests.support.servers import FLOWS, Server, crewserve_serve, data_of, running

pytestmark = [
    pytest.mark.own_ground,
    pytest.mark.skipif(sys.platform != "linux", reason="walls and users are Linux's"),
]

NO_LANDLOCK = "the kernel has no Landlock"
NO_ROOT = "only root runs flows as other users"
REFUSED = {"EACCES", "EPERM"}

WALLS: dict[str, str] = {}
USERS = {"CREWSERVE_SANDBOX": "false", "CREWSERVE_FLOW_USERS": "200000-200999"}
ONE_USER = {**USERS, "CREWSERVE_FLOW_USERS": "200000"}
NOTHING = {"CREWSERVE_SANDBOX": "false"}


@pytest.fixture
def folder() -> Iterator[Path]:
    """One that other users can pass, which pytest's cannot be."""
    found = Path(tempfile.mkdtemp())
    found.chmod(0o711)
    yield found
    shutil.rmtree(found)
    shutil.rmtree(data_of(found))


def pry(server: Server, **wishes: Any) -> dict[str, Any]:
    ended = server.run("prying", **wishes)
    assert ended["status"] == "completed", ended
    return dict(ended["result"])


def private_files(server: Server, execution_id: str) -> list[str]:
    """Of the server and of another execution."""
    data = server.data
    (data / "link").symlink_to(data / "crewserve.db")
    key = next(data.glob("leader-*.key"))
    files = [data / "crewserve.db", data / "crewserve.db-wal", key, data / "template.log"]
    others = server.folder(execution_id) / "files" / "kept.txt"
    memory = [f"/proc/{pid}/environ" for pid in (server.pid, server.template())]
    return [*map(str, [*files, data / "link", others]), *memory]


def prying_flow(folder: Path, variables: dict[str, str]) -> Any:
    command = crewserve_serve("prying.py:Prying")
    return running(command, folder, cwd=FLOWS, variables=variables)


@pytest.mark.parametrize(
    "variables",
    [
        pytest.param(
            WALLS,
            marks=pytest.mark.skipif(not landlock_version(), reason=NO_LANDLOCK),
            id="by Landlock",
        ),
        pytest.param(
            USERS, marks=pytest.mark.skipif(os.geteuid() != 0, reason=NO_ROOT), id="by users"
        ),
        pytest.param(
            ONE_USER, marks=pytest.mark.skipif(os.geteuid() != 0, reason=NO_ROOT), id="by one user"
        ),
    ],
)
def test_a_flow_gets_at_nothing_but_its_own(folder: Path, variables: dict[str, str]) -> None:
    with prying_flow(folder, variables) as server:
        server.wait_for_flows()
        first = server.execute("prying", keep="a secret of the first")
        own = server.wait_for_end(first)["result"]
        assert (Path(own["folder"]) / "kept.txt").read_text() == "a secret of the first"
        private = private_files(server, first)
        found = pry(
            server,
            read=[*private, "/etc/hostname", str(FLOWS / "prying.py")],
            write=[str(server.data / "planted"), str(server.data / "crewserve.db"), "mine.txt"],
            connect=[str(next(server.data.glob("leader-*.socket")))],
            stop=[server.pid, server.template()],
        )
        told = server.log
    assert {path: was for path in private if (was := found["read"][path]) not in REFUSED} == {}
    assert {found["shell"][path] for path in private} == {"EACCES"}
    assert {found["read"][path] for path in ("/etc/hostname", str(FLOWS / "prying.py"))} == {"done"}
    assert list(found["write"].values()) == ["EACCES", "EACCES", "done"]
    assert set(found["connect"].values()) == {"EACCES"}
    assert set(found["stop"].values()) == {"EPERM"}
    assert "Nothing keeps flows" not in told


@pytest.mark.skipif(os.geteuid() != 0, reason=NO_ROOT)
def test_a_link_that_it_left_gives_the_next_attempt_nothing(folder: Path) -> None:
    foreign = folder / "foreign"
    (foreign / "inner").mkdir(parents=True)
    (foreign / "inner" / "secret").touch()
    with prying_flow(folder, USERS) as server:
        server.wait_for_flows()
        ended = server.wait_for_end(server.execute("prying", plant=str(foreign)))
        assert (ended["status"], ended["attempt"]) == ("completed", 2)
        owners = [path.stat().st_uid for path in (foreign, *foreign.rglob("*"))]
        assert owners == [0, 0, 0]
        left = server.folder(ended["execution_id"])
        assert (left.stat().st_uid, left.stat().st_mode & 0o777) == (0, 0o700)


def test_where_nothing_keeps_flows_out_the_server_says_so(folder: Path) -> None:
    with prying_flow(folder, NOTHING) as server:
        server.wait_for_flows()
        database = str(server.data / "crewserve.db")
        assert pry(server, read=[database])["read"] == {database: "done"}
        assert "Nothing keeps flows from the data folder" in server.log
