"""The server processes: each alone in its port, its folder and its session."""

import asyncio
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from benchmarks.load import Answer, MeasurementFailed, connected, get

ROOT: Final = Path(__file__).parents[1]

QUIET: Final = {
    "CREWAI_DISABLE_TELEMETRY": "true",
    "CREWAI_TRACING_ENABLED": "false",
    "CREWAI_DISABLE_VERSION_CHECK": "true",
    "CREWAI_TESTING": "true",
}
"""For both servers; crewserve sets the same for its own processes."""

START_SECONDS: Final = 60.0
STOP_SECONDS: Final = 20.0
TAIL_LINES: Final = 30


@dataclass(frozen=True, slots=True)
class Subject:
    """A server that can be started."""

    name: str
    command: Sequence[str]
    """``{port}`` stands for the port."""
    reuse_url: str | None = None
    """Where the no-op flow may keep its processes."""
    environment: Mapping[str, str] = field(default_factory=dict)
    loads_later: bool = False
    """It answers before its flows are loaded."""


CREWSERVE: Final = Subject(
    name="crewserve",
    command=("-m", "benchmarks.run_measured"),
    reuse_url="/api/v1/noop-reuse-flow",
    loads_later=True,
)
BASELINE: Final = Subject(
    name="baseline",
    command=(
        *("-m", "uvicorn", "benchmarks.baseline.app:app"),
        *("--port", "{port}", "--no-access-log"),
    ),
)


@dataclass(frozen=True, slots=True)
class Running:
    """A server that answers."""

    subject: Subject
    port: int
    pid: int
    seconds_to_health: float
    seconds_to_ready: float


@asynccontextmanager
async def provider(folder: Path) -> AsyncIterator[int]:
    """The language model provider, in a process of its own; gives its port."""
    port = _free_port()
    command = ("-m", "benchmarks.provider", str(port))
    with (folder / "provider.log").open("wb") as log:
        process = _start(command, {}, log.fileno())
    try:
        await _answered(process, port)
        yield port
    finally:
        _stop(process)


@asynccontextmanager
async def running(subject: Subject, folder: Path, provider_port: int) -> AsyncIterator[Running]:
    """Start *subject* with *folder* for its data; it is gone afterwards, whatever happens."""
    port = _free_port()
    command = [part.format(port=port) for part in subject.command]
    began = time.perf_counter()
    with (folder / "server.log").open("wb") as log:
        variables = {**_environment(folder, port, provider_port), **subject.environment}
        process = _start(command, variables, log.fileno())
    try:
        await _answered(process, port)
        healthy = time.perf_counter() - began
        if subject.loads_later:
            await _loaded(process, port)
        ready = time.perf_counter() - began
        yield Running(subject, port, process.pid, healthy, ready)
    except MeasurementFailed as error:
        error.add_note(_tail(folder / "server.log"))
        raise
    finally:
        _stop(process)


def _tail(log: Path) -> str:
    """What the server said last, without the executions that went well."""
    lines = log.read_text(errors="replace").splitlines()
    return "\n".join([line for line in lines if not line.endswith("is completed")][-TAIL_LINES:])


def _environment(folder: Path, port: int, provider_port: int) -> dict[str, str]:
    return {
        **QUIET,
        "CREWAI_STORAGE_DIR": str(folder / "crewai"),
        "CREWSERVE_DATA_DIR": str(folder / "data"),
        "API_PORT": str(port),
        "OPENAI_API_KEY": "benchmark",
        "OPENAI_BASE_URL": f"http://127.0.0.1:{provider_port}/v1",
    }


def _start(
    command: Sequence[str], environment: Mapping[str, str], log: int
) -> "subprocess.Popen[bytes]":
    return subprocess.Popen(
        [sys.executable, *command],
        cwd=ROOT,
        env={**os.environ, **environment},
        stdin=subprocess.DEVNULL,
        stdout=log,
        stderr=log,
        start_new_session=True,
    )


def _stop(process: "subprocess.Popen[bytes]") -> None:
    """Blocks: nothing else goes on by then, and a second signal cannot interrupt it half way."""
    process.send_signal(signal.SIGTERM)
    try:
        process.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


async def _answered(process: "subprocess.Popen[bytes]", port: int) -> None:
    answer = None
    while answer is None:
        await asyncio.sleep(0.005)
        answer = await _ask(process, port, "/health")


async def _loaded(process: "subprocess.Popen[bytes]", port: int) -> None:
    while True:
        answer = await _ask(process, port, "/api/v1/flows")
        flows: list[dict[str, Any]] = answer.json()["flows"] if answer else []
        if flows and all(flow["status"] == "ready" for flow in flows):
            return
        await asyncio.sleep(0.05)


async def _ask(process: "subprocess.Popen[bytes]", port: int, path: str) -> Answer | None:
    """None while nobody listens. Raises MeasurementFailed when nobody ever will."""
    if process.poll() is not None:
        raise MeasurementFailed(f"The server ended with exit code {process.returncode}")
    try:
        async with asyncio.timeout(START_SECONDS), connected(port, 1) as (connection,):
            return await connection.send(get(path))
    except OSError:
        return None
