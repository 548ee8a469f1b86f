"""`python -m deploy.cluster`, as `make cluster` calls it."""

import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from itertools import cycle
from pathlib import Path
from tempfile import TemporaryDirectory
from uuid import uuid4

import httpx
import pytest

from tests.support import processes
from tests.support.servers import FLOWS, REPOSITORY, environment
from tests.support.waiting import eventually


@pytest.fixture
def mark() -> Iterator[str]:
    """All that inherits it is ended when the test is over."""
    value = uuid4().hex
    yield value
    processes.kill_marked(value)


@pytest.fixture
def temporary() -> Iterator[Path]:
    """Where PostgreSQL, which is another user, may go; not so in `tmp_path`."""
    with TemporaryDirectory() as folder:
        Path(folder).chmod(0o711)
        yield Path(folder)


def completed(client: httpx.Client, url: str) -> set[str]:
    answer = client.get(f"{url}/api/v1/executions", params={"status": "completed"})
    return {found["execution_id"] for found in answer.json()["executions"]}


def test_a_cluster_starts_serves_and_leaves_nothing(
    mark: str, tmp_path: Path, temporary: Path
) -> None:
    out = tmp_path / "out"
    command = [sys.executable, "-m", "deploy.cluster", "--broker", "redis"]
    with out.open("wb") as output:
        cluster = subprocess.Popen(
            [*command, f"{FLOWS}/shapes.py:Routed"],
            cwd=REPOSITORY,
            env={**environment(mark, tmp_path, {}), "TMPDIR": str(temporary)},
            stdout=output,
            stderr=output,
        )
    eventually(lambda: "Ctrl-C" in out.read_text() or cluster.poll(), what="all of it works")
    first, second = urls = re.findall(r"http://[\d.:]+", out.read_text())
    with httpx.Client(timeout=30) as client:
        accepted = {
            client.post(f"{url}/api/v1/routed/execute", json={}).json()["execution_id"]
            for url, _ in zip(cycle(urls), range(20), strict=False)
        }
        eventually(lambda: accepted <= completed(client, first), what="all are completed")
        assert accepted <= completed(client, second)
    cluster.send_signal(signal.SIGINT)
    assert cluster.wait(60) == 0
    assert processes.marked(mark) == set()
    assert list(temporary.glob("crewserve-*")) == []
