"""The processes of a cluster: an API or a worker, that can be killed and started again."""

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import Any, Final

from deploy.ports import free_port
from deploy.waiting import eventually

ROOT: Final = Path(__file__).resolve().parents[1]
CREWSERVE: Final = str(Path(sys.executable).with_name("crewserve"))

STOP_SECONDS: Final = 30.0
"""More than the default drain."""

TAIL_LINES: Final = 20


def as_host(name: str) -> list[str]:
    """What to put before a command so that it takes itself for another host, of that name."""
    unshare = ["unshare", "--uts"] if os.geteuid() == 0 else ["unshare", "-r", "--uts"]
    return [*unshare, "sh", "-c", 'hostname "$0" && exec "$@"', name]


@dataclass(slots=True, eq=False, kw_only=True)
class Member:
    """The same command, settings and data folder at each start."""

    name: str
    flows: Sequence[str]
    """As `crewserve serve` takes them; without any, those of `src/api`."""
    folder: Path
    """Of the cluster."""
    environment: Mapping[str, str]
    own_host_name: bool = False
    """Whether it takes itself for a host of its own, which has this name."""
    _process: "subprocess.Popen[bytes] | None" = None
    _logged: int = 0
    """Bytes of the log that an earlier start wrote."""

    @property
    def command(self) -> list[str]:
        raise NotImplementedError

    @property
    def is_ready(self) -> bool:
        """Whether it does its work."""
        raise NotImplementedError

    @property
    def pid(self) -> int:
        assert self._process is not None, f"{self.name} was never started"
        return self._process.pid

    @property
    def runs(self) -> bool:
        return self._process is not None and self._process.poll() is None

    @property
    def log_file(self) -> Path:
        """Of all its starts."""
        return self.folder / f"{self.name}.log"

    @property
    def log(self) -> str:
        """What it wrote since it was started last."""
        return self.log_file.read_bytes()[self._logged :].decode(errors="replace")

    def start(self) -> None:
        """Returns at once; see `wait_until_ready`."""
        with self.log_file.open("ab") as log:
            self._logged = log.tell()
            self._process = subprocess.Popen(
                [*(as_host(self.name) if self.own_host_name else []), *self.command],
                cwd=ROOT,
                env={**self.environment, "CREWSERVE_DATA_DIR": str(self.folder / self.name)},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,  # Ctrl-C is for the cluster, which stops all in order
            )

    def wait_until_ready(self) -> None:
        """Raises: RuntimeError when it ended instead, TimeoutError."""
        eventually(self._is_ready, what=f"{self.name} is ready")

    def _is_ready(self) -> bool:
        if not self.runs:
            tail = "\n".join(self.log.splitlines()[-TAIL_LINES:])
            raise RuntimeError(f"{self.name} ended before it was ready:\n{tail}")
        return self.is_ready

    def terminate(self) -> None:
        """Ask it to end, and do not wait."""
        if self._process is not None:
            self._process.send_signal(signal.SIGTERM)

    def wait(self, seconds: float = STOP_SECONDS) -> int | None:
        """Its exit code; None when it has not ended by then, or was never started."""
        with suppress(subprocess.TimeoutExpired):
            return self._process.wait(seconds) if self._process is not None else None
        return None

    def stop(self) -> int | None:
        """Let what runs end; see `wait`."""
        self.terminate()
        return self.wait()

    def kill(self) -> None:
        """As a crash does: at once, and it alone."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def restart(self) -> None:
        """Whether it runs or not; returns when it is ready again."""
        if self.runs:
            self.stop()
        self.kill()
        self.start()
        self.wait_until_ready()


@dataclass(slots=True, eq=False, kw_only=True)
class Api(Member):
    """Answers requests; without a broker it also runs executions."""

    port: int = field(default_factory=free_port)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def command(self) -> list[str]:
        serve = [CREWSERVE, "serve", *self.flows]
        command = serve if self.flows else [sys.executable, str(ROOT / "run_api.py")]
        return [*command, "--host", "127.0.0.1", "--port", str(self.port)]

    @property
    def is_ready(self) -> bool:
        """Whether it knows of every flow what there is to know."""
        flows = self.get("/api/v1/flows").get("flows", [])
        return bool(flows) and all(flow["status"] != "loading" for flow in flows)

    def get(self, path: str) -> dict[str, Any]:
        """The JSON object at *path*; empty while it does not answer."""
        connection = HTTPConnection("127.0.0.1", self.port, timeout=10)
        try:
            connection.request("GET", path)
            return dict(json.load(connection.getresponse()))
        except (OSError, HTTPException, ValueError):
            return {}
        finally:
            connection.close()


@dataclass(slots=True, eq=False, kw_only=True)
class Worker(Member):
    """Runs executions, and answers no requests."""

    @property
    def command(self) -> list[str]:
        return [CREWSERVE, "worker", *(self.flows or ("--app", "api.app:app"))]

    @property
    def id(self) -> str:
        """How the API calls it, since it was started last."""
        found = re.search(r"^crewserve worker: (\S+)", self.log, re.MULTILINE)
        assert found is not None, f"{self.name} has not greeted yet"
        return found[1]

    @property
    def is_ready(self) -> bool:
        """Whether it takes executions."""
        ready = "Consuming from" if "CREWSERVE_BROKER_URL" in self.environment else "is ready after"
        return ready in self.log
