"""A whole cluster on this machine, from installed servers: APIs, workers, database, broker.

Everything listens on loopback only, on ports of its own. ``python -m deploy.cluster`` starts one
and stops it at Ctrl-C.
"""

import argparse
import os
import shutil
import signal
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Final

from deploy.brokers import KINDS, BrokerServer
from deploy.members import STOP_SECONDS, Api, Member, Worker
from deploy.postgres import PostgresServer

NO_BROKER: Final = "none"


@dataclass(slots=True, eq=False, kw_only=True)
class Plan:
    """What a cluster is made of."""

    broker: str = "rabbitmq"
    """`rabbitmq`, `redis` or `none`: then APIs run executions as well, and all claim."""
    apis: int = 2
    workers: int = 2
    flows: Sequence[str] = ()
    """As `crewserve serve` takes them; without any, those of `src/api`."""
    settings: Mapping[str, str] = field(default_factory=dict)
    """Variables for APIs and workers, in addition to *environment*."""
    environment: Mapping[str, str] = field(default_factory=lambda: dict(os.environ))
    api: type[Api] = Api
    worker: type[Worker] = Worker
    own_host_names: bool = False
    """Whether each API and worker takes itself for a host of its own."""
    data: Path | None = None
    """Where the database and the members' folders are kept; without it, nothing is."""


class Cluster:
    """To be used with ``with``: whatever of it still runs at the end is ended.

    Each part can be killed, stopped and started again meanwhile.
    """

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.folder = plan.data or Path(tempfile.mkdtemp(prefix="crewserve-cluster-"))
        self.folder.mkdir(parents=True, exist_ok=True)
        self.database = PostgresServer(self.folder / "postgres") if plan.data else PostgresServer()
        self.broker: BrokerServer | None = None
        if plan.broker != NO_BROKER:
            self.broker = KINDS[plan.broker]()
        shared: dict[str, Any] = {
            "flows": plan.flows,
            "folder": self.folder,
            "environment": self._environment(),
            "own_host_name": plan.own_host_names,
        }
        self.apis = [plan.api(name=f"api-{n + 1}", **shared) for n in range(plan.apis)]
        self.workers = [plan.worker(name=f"worker-{n + 1}", **shared) for n in range(plan.workers)]

    @property
    def members(self) -> list[Member]:
        return [*self.apis, *self.workers]

    def _environment(self) -> Mapping[str, str]:
        plan = self.plan
        own = {"CREWSERVE_DATABASE_URL": self.database.url, "PYTHONUNBUFFERED": "1"}
        if self.broker is not None:
            own["CREWSERVE_BROKER_URL"] = self.broker.url
        inherited = {
            name: value
            for name, value in plan.environment.items()
            if name != "CREWSERVE_BROKER_URL"
        }
        return {**inherited, **plan.settings, **own}

    def __enter__(self) -> "Cluster":
        """Returns when all of it works. Raises: FileNotFoundError when a server is missing."""
        try:
            self._start()
        except BaseException:
            self.close()
            raise
        return self

    def _start(self) -> None:
        self.database.create().start()
        if self.broker is not None:
            self.broker.start()
        for member in self.members:
            member.start()
        for member in self.members:
            member.wait_until_ready()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """In order; what does not end in time, or when this is interrupted, is killed."""
        try:
            for member in self.members:
                member.terminate()
            for member in self.members:
                member.wait(STOP_SECONDS)
        finally:
            for member in self.members:
                member.kill()
            self._remove_servers()

    def _remove_servers(self) -> None:
        if self.broker is not None:
            self.broker.remove()
        if self.plan.data is None:
            self.database.remove()
            shutil.rmtree(self.folder, ignore_errors=True)
        elif self.database.runs:
            self.database.stop()


def describe(cluster: Cluster) -> str:
    """Where its parts are."""
    kept = "kept" if cluster.plan.data else "removed at the end"
    lines = {
        "APIs": " ".join(api.url for api in cluster.apis),
        "workers": " ".join(f"{worker.name} (process {worker.pid})" for worker in cluster.workers),
        "database": cluster.database.url,
        "broker": cluster.broker.url if cluster.broker else "none: all claim from the database",
        "logs": f"{cluster.folder}/*.log ({kept})",
    }
    return "\n".join(f"  {name:<9} {value}" for name, value in lines.items())


def main() -> int:
    """Returns the exit code."""
    parser = argparse.ArgumentParser("python -m deploy.cluster", description=__doc__)
    parser.add_argument("--broker", choices=[*sorted(KINDS), NO_BROKER], default="rabbitmq")
    parser.add_argument("--apis", type=int, default=2, metavar="N")
    parser.add_argument("--workers", type=int, default=2, metavar="N")
    parser.add_argument("--data", type=Path, help="keep the database and all files in this folder")
    parser.add_argument("flows", nargs="*", metavar="FLOW", help="instead of those of src/api")
    said = parser.parse_args()
    data = said.data.resolve() if said.data else None
    plan = Plan(
        broker=said.broker, apis=said.apis, workers=said.workers, data=data, flows=said.flows
    )
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.default_int_handler)
    try:
        _run(plan)
    except FileNotFoundError as error:
        print(f"error: {error}\n\nhint: install it, or see --broker", file=sys.stderr)
        return 1
    except (OSError, RuntimeError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        pass
    return 0


def _run(plan: Plan) -> None:
    print("Starting; it takes about half a minute on two cores", flush=True)
    with Cluster(plan) as cluster:
        print(f"{describe(cluster)}\nCtrl-C stops all of it", flush=True)
        try:
            signal.pause()
        finally:
            print("Stopping", flush=True)


if __name__ == "__main__":
    sys.exit(main())
