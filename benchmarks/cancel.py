"""How long a flow lives after its cancel: `python -m benchmarks.cancel [--runs 10]`.

Asked over HTTP of a real server; the time ends when no process that the execution had started is
left in the process table. The last line is about a crash instead: server and template are killed
together, and the time is that of the next start's search for what they left.
"""

import argparse
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import httpx

from benchmarks.flows.stubborn_flow import WAYS
from benchmarks.servers import ROOT
from crewserve.crew.processes import OWNER, kill_strays

FLOW: Final = "benchmarks.flows.stubborn_flow:StubbornFlow"
GRACE: Final = 1.0
PROCESSES: Final = {"a child process": 2, "a grandchild in a session of its own": 3}
"""That each way takes, if it is not one."""

PATIENCE: Final = 60.0
"""Seconds."""


def main() -> None:
    """Prints a table in milliseconds: median and largest of all runs."""
    parser = argparse.ArgumentParser("python -m benchmarks.cancel", description=__doc__)
    parser.add_argument("--runs", type=int, default=10)
    runs = parser.parse_args().runs
    print(f"| blocked in | force | graceful, {GRACE:g} s grace |\n|---|--:|--:|")
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        place = Path(folder)
        with _served(place) as (client, _):
            for how in WAYS:
                forced = [_cancelled(client, place, how, {"mode": "force"}) for _ in range(runs)]
                asked = {"mode": "graceful", "grace_seconds": GRACE}
                graceful = [_cancelled(client, place, how, asked) for _ in range(runs)]
                print(f"| {how} | {_told(forced)} | {_told(graceful)} |", flush=True)
        print(f"| server and template killed together | {_told(_orphaned(place, runs))} | - |")


def _told(seconds: list[float]) -> str:
    return f"{statistics.median(seconds) * 1e3:,.0f} (max {max(seconds) * 1e3:,.0f})"


def _cancelled(client: httpx.Client, place: Path, how: str, wish: dict[str, Any]) -> float:
    execution, pids = _begun(client, place, how)
    began = time.perf_counter()
    client.post(f"/api/v1/executions/{execution}/cancel", json=wish).raise_for_status()
    _until(lambda: not any(_lives(pid) for pid in pids))
    return time.perf_counter() - began


def _begun(client: httpx.Client, place: Path, how: str) -> tuple[str, set[int]]:
    """The execution, and all processes that belong to it."""
    begun = place / f"begun-{time.monotonic_ns()}"
    answer = client.post("/api/v1/stubborn-flow/execute", json={"how": how, "begun": str(begun)})
    execution = answer.raise_for_status().json()["execution_id"]
    _until(begun.exists)
    _until(lambda: len(_belonging(execution)) >= PROCESSES.get(how, 1))
    return execution, _belonging(execution)


def _belonging(execution: str) -> set[int]:
    """Its process and all that descends from it."""
    found = {pid for pid in _processes() if _works_in(pid, execution)}
    while more := {pid for pid in _processes() if _parent(pid) in found} - found:
        found |= more
    return found


def _processes() -> Iterator[int]:
    return (int(folder.name) for folder in Path("/proc").glob("[0-9]*"))


def _works_in(pid: int, execution: str) -> bool:
    try:
        return execution in str(Path(f"/proc/{pid}/cwd").readlink())
    except OSError:
        return False


def _parent(pid: int) -> int | None:
    try:
        state, parent = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[:2]
    except OSError:
        return None
    return None if state in "ZX" else int(parent)


def _lives(pid: int) -> bool:
    return _parent(pid) is not None


def _until(is_so: Any) -> None:
    deadline = time.monotonic() + PATIENCE
    while not is_so():
        if time.monotonic() > deadline:
            raise SystemExit("error: it did not happen in a minute")
        time.sleep(0.0005)


def _orphaned(place: Path, runs: int) -> list[float]:
    """Two executions each time, whose supervisor and template are killed."""
    found = []
    for _ in range(runs):
        with _served(place) as (client, server):
            pids = set().union(*(_begun(client, place, how)[1] for how in list(WAYS)[-2:]))
            template = next(pid for pid in _processes() if _parent(pid) == server.pid)
            owner = _owner(template)
            os.kill(server.pid, signal.SIGKILL)
            os.kill(template, signal.SIGKILL)
            began = time.perf_counter()
            kill_strays(owner)
            _until(lambda pids=pids: not any(_lives(pid) for pid in pids))
            found.append(time.perf_counter() - began)
    return found


def _owner(template: int) -> str:
    prefix = f"{OWNER}=".encode()
    variables = Path(f"/proc/{template}/environ").read_bytes().split(b"\0")
    return next(one for one in variables if one.startswith(prefix)).removeprefix(prefix).decode()


@contextmanager
def _served(place: Path) -> Iterator[tuple[httpx.Client, "subprocess.Popen[bytes]"]]:
    command = [sys.executable, "-m", "crewserve.cli", "serve", FLOW, "--port", "0"]
    log, data = place / "server.log", tempfile.mkdtemp(dir=place)
    with log.open("wb") as output:
        server = subprocess.Popen(
            command,
            cwd=ROOT,
            env={**os.environ, "CREWSERVE_DATA_DIR": data, "PYTHONUNBUFFERED": "1"},
            stdout=output,
            stderr=output,
        )
    try:
        _until(lambda: "http://" in log.read_text())
        url = "http" + log.read_text().partition("http")[2].split()[0]
        with httpx.Client(base_url=url, timeout=PATIENCE) as client:
            _until(lambda: _is_ready(client))
            yield client, server
    finally:
        server.terminate()
        server.wait()


def _is_ready(client: httpx.Client) -> bool:
    try:
        flows = client.get("/api/v1/flows").json()["flows"]
    except httpx.TransportError:
        return False
    return all(flow["status"] == "ready" for flow in flows)


if __name__ == "__main__":
    main()
