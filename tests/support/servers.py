"""Real server processes: started, waited for, asked over HTTP, stopped or killed."""

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from uuid import uuid4

import httpx

from tests.support import grounds, processes
from tests.support.processes import folder_of
from tests.support.waiting import A_WHILE, eventually

REPOSITORY: Final = Path(__file__).resolve().parents[2]
FLOWS: Final = Path(__file__).resolve().parent / "flows"
TERMINAL: Final = frozenset({"completed", "failed", "cancelled"})

_PRIVATE: Final = re.compile(
    r"(API|CREWSERVE|CREWAI|OPENAI|GEMINI|GOOGLE|ANTHROPIC|PYTEST|COV)_.*|MODEL|.*_API_KEY"
)
"""Variables of the person who runs the tests that must not reach a server under test."""

JsonObject = dict[str, Any]


@dataclass(slots=True, eq=False)
class Server:
    """A server process. Its output is collected in files, so that it never blocks on a pipe."""

    process: "subprocess.Popen[bytes]"
    mark: str
    data: Path
    out: Path
    err: Path
    client: httpx.Client
    worker: "Server | None" = None
    """Runs what this one accepts, where that is not the same process. Both stop together."""

    @property
    def pid(self) -> int:
        return self.process.pid

    @property
    def url(self) -> str:
        return str(self.client.base_url).rstrip("/")

    @property
    def stdout(self) -> str:
        return self.out.read_text()

    @property
    def log(self) -> str:
        """What it wrote to stderr, where its log goes."""
        return self.err.read_text() + (self.worker.log if self.worker else "")

    def processes(self) -> set[int]:
        """Itself and all that it or its flows started, as long as they live."""
        own = processes.marked(self.mark)
        return own | self.worker.processes() if self.worker else own

    def template(self) -> int | None:
        """The process that imported the flows, when it is there."""
        supervising = self.worker or self
        for pid in self.processes():
            is_child = processes.parent_of(pid) == supervising.pid
            if is_child and "crewserve.crew.template" in processes.command_of(pid):
                return pid
        return None

    def child_of(self, execution_id: str) -> int:
        """The process that works in the execution's folder, once there is one."""
        folder = self.folder(execution_id) / "files"

        def found() -> int | None:
            return next((pid for pid in self.processes() if folder_of(pid) == folder), None)

        return eventually(found, what=f"a process runs execution {execution_id}")

    def wait_for_answer(self) -> None:
        """Until `/health` answers."""
        eventually(self._answers, what="the server answers")

    def works(self) -> bool:
        """Whether it is a worker that has started."""
        self._check_alive()
        return "crewserve worker: " in self.stdout

    def _check_alive(self) -> None:
        if self.process.poll() is not None:
            raise AssertionError(f"It ended with {self.process.returncode}:\n{self.log}")

    def _answers(self) -> bool:
        self._check_alive()
        found = re.search(r"http://[\w.]+:\d+", self.stdout)
        if found is None:
            return False
        self.client.base_url = httpx.URL(found[0])
        return self.responds()

    def responds(self) -> bool:
        """Whether `/health` answers now."""
        try:
            return self.client.get("/health").is_success
        except httpx.TransportError:
            return False

    def wait_for_flows(self) -> "Server":
        """Until every flow has loaded, or has failed to."""
        eventually(self._has_flows, what="the flows are loaded")
        return self

    def _has_flows(self) -> bool:
        return all(flow["status"] != "loading" for flow in self.flows().values())

    def flows(self) -> dict[str, JsonObject]:
        """What `/api/v1/flows` says, by name."""
        flows = self.client.get("/api/v1/flows").raise_for_status().json()["flows"]
        return {flow["name"]: flow for flow in flows}

    def execute(self, path: str, options: Mapping[str, str] | None = None, **inputs: Any) -> str:
        """Start the flow at *path*; returns the execution's id."""
        answer = self.client.post(f"/api/v1/{path}/execute", params=options or {}, json=inputs)
        assert answer.is_success, answer.text
        return str(answer.json()["execution_id"])

    def execute_soon(
        self, path: str, options: Mapping[str, str] | None = None, **inputs: Any
    ) -> str:
        """The same, as soon as the server can: while flows load, it cannot check inputs."""

        def accepted() -> str | None:
            answer = self.client.post(f"/api/v1/{path}/execute", params=options or {}, json=inputs)
            if answer.status_code == httpx.codes.SERVICE_UNAVAILABLE:
                return None
            return str(answer.raise_for_status().json()["execution_id"])

        return eventually(accepted, what="it is accepted")

    def get(self, execution_id: str) -> JsonObject:
        """The execution as it is now."""
        answer = self.client.get(f"/api/v1/executions/{execution_id}")
        return dict(answer.raise_for_status().json())

    def all(self, **filters: str) -> list[JsonObject]:
        """One large page of the list."""
        answer = self.client.get("/api/v1/executions", params={"limit": "1000", **filters})
        return list(answer.raise_for_status().json()["executions"])

    def cancel(self, execution_id: str, **wish: Any) -> None:
        """Ask it to stop."""
        answer = self.client.post(f"/api/v1/executions/{execution_id}/cancel", json=wish)
        assert answer.is_success, answer.text

    def wait_until(self, status: str, *execution_ids: str) -> None:
        """Until all these executions say *status*."""
        wanted = set(execution_ids)
        eventually(
            lambda: wanted <= {found["execution_id"] for found in self.all(status=status)},
            what=f"{len(wanted)} executions are {status}",
        )

    def wait_for_end(self, execution_id: str, *, within: float = A_WHILE) -> JsonObject:
        """The execution once it has ended, however."""
        return eventually(
            lambda: found if (found := self.get(execution_id))["status"] in TERMINAL else None,
            within=within,
            what=f"execution {execution_id} ends",
        )

    def run(self, path: str, **inputs: Any) -> JsonObject:
        """Start the flow at *path* and wait for its end."""
        return self.wait_for_end(self.execute(path, **inputs))

    def folder(self, execution_id: str) -> Path:
        """Where this execution's output and files are."""
        return self.data / "executions" / execution_id

    def stop(self, signal_number: int = signal.SIGTERM, *, within: float = 20.0) -> int:
        """Ask it to end; returns its exit code. Raises subprocess.TimeoutExpired."""
        self.signal(signal_number)
        return self.wait(within)

    def signal(self, number: int, *, group: bool = False) -> None:
        """To it alone, or to all that it has not put into a session of their own."""
        (os.killpg if group else os.kill)(self.pid, number)
        if self.worker:
            self.worker.signal(number, group=group)

    def wait(self, within: float) -> int:
        """Its exit code. Raises subprocess.TimeoutExpired."""
        if self.worker:
            self.worker.wait(within)
        return self.process.wait(within)

    def kill(self) -> None:
        """End it as a crash would: at once, and it alone."""
        self.signal(signal.SIGKILL)
        self.wait(A_WHILE)


def data_of(folder: Path) -> Path:
    """Of a server that a test runs in *folder*. Beside it: flows cannot make new files in any
    folder in which the data folder lies.
    """
    return folder.with_name(f"{folder.name}-data")


def run_api(*arguments: str, root: Path = REPOSITORY) -> list[str]:
    """The specification's command."""
    return [sys.executable, str(root / "run_api.py"), *arguments]


def crewserve_serve(*arguments: str) -> list[str]:
    """The installed command."""
    return [str(Path(sys.executable).with_name("crewserve")), "serve", *arguments]


def environment(mark: str, data: Path, added: Mapping[str, str]) -> dict[str, str]:
    """What a server under test sees: no key and no setting of whoever runs the tests."""
    inherited = {name: value for name, value in os.environ.items() if not _PRIVATE.fullmatch(name)}
    own = {"CREWSERVE_DATA_DIR": str(data), "PYTHONUNBUFFERED": "1", processes.MARK: mark}
    return {**inherited, **own, **added}


@contextmanager
def running(
    command: Sequence[str],
    folder: Path,
    *,
    data: Path | None = None,
    variables: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    port: int | None = 0,
) -> Iterator[Server]:
    """Start *command* on a free port and wait until it answers; leave no process behind.

    *folder* takes its output; *data*, by default a folder beside it, its data. It runs in *cwd*, by
    default in *folder*, which has no ``.env``. With *port* None the server's settings decide.
    """
    listen = [] if port is None else ["--port", str(port)]
    ground, told = grounds.current(), variables or {}
    helper = None
    if grounds.DATABASE not in told:
        told = {**ground.variables(data or data_of(folder)), **told}
        helper = ground.worker(command)
    with ExitStack() as stack:
        server = stack.enter_context(_started([*command, *listen], folder, data, told, cwd))
        server.wait_for_answer()
        if helper:
            worker_command, added = helper
            worker = _started(worker_command, folder, server.data, {**told, **added}, cwd)
            server.worker = stack.enter_context(worker)
            eventually(server.worker.works, what="the worker works")
        yield server


@contextmanager
def working(
    folder: Path, *flows: str, variables: Mapping[str, str], cwd: Path | None = None
) -> Iterator[Server]:
    """`crewserve worker`, as soon as it says that it works; it answers no requests."""
    command = [str(Path(sys.executable).with_name("crewserve")), "worker", *flows]
    with _started(command, folder, None, variables, cwd) as worker:
        eventually(worker.works, what="the worker works")
        yield worker


@contextmanager
def _started(
    command: Sequence[str],
    folder: Path,
    data: Path | None,
    variables: Mapping[str, str] | None,
    cwd: Path | None,
) -> Iterator[Server]:
    mark = uuid4().hex
    folder.mkdir(parents=True, exist_ok=True)
    out, err, data = folder / f"{mark}.out", folder / f"{mark}.err", data or data_of(folder)
    with out.open("wb") as stdout, err.open("wb") as stderr, httpx.Client(timeout=30) as client:
        process = subprocess.Popen(
            command,
            cwd=cwd or folder,
            env=environment(mark, data, variables or {}),
            stdin=subprocess.DEVNULL,
            stdout=stdout,
            stderr=stderr,
            start_new_session=True,
        )
        server = Server(process, mark, data, out, err, client)
        try:
            yield server
        finally:
            _end(server)


def _end(server: Server) -> None:
    """Kill all: how a server ends by itself is the subject of tests, not of their cleaning."""
    processes.kill_marked(server.mark)
    server.process.wait()
    eventually(lambda: not server.processes(), what="nothing is left of the server")


def run_to_end(
    command: Sequence[str],
    folder: Path,
    *,
    variables: Mapping[str, str] | None = None,
    cwd: Path | None = None,
) -> "subprocess.CompletedProcess[str]":
    """Run a command that shall end by itself, soon."""
    mark = uuid4().hex
    try:
        return subprocess.run(
            command,
            cwd=cwd or folder,
            env=environment(mark, data_of(folder), variables or {}),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=A_WHILE,
            check=False,
        )
    finally:
        processes.kill_marked(mark)
