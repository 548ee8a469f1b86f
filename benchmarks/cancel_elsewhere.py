"""How long a flow lives after a cancel that another process or host was asked for.

`python -m benchmarks.cancel_elsewhere [--runs 20]`, with PostgreSQL, RabbitMQ and Redis installed.
The flow sleeps; it is cancelled by force, over HTTP, and the time ends when its process is gone.
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import httpx

from tests.support.brokers import private_broker
from tests.support.postgres import private_server
from tests.support.processes import is_alive
from tests.support.servers import FLOWS, Server, crewserve_serve, running, working
from tests.support.workers import asked_one_by_one, leader

FLOW = f"{FLOWS}/trouble.py:Sleeping"
COMMAND = crewserve_serve(FLOW)


def main() -> None:
    """Prints a table in milliseconds: median and largest of all runs."""
    parser = argparse.ArgumentParser("python -m benchmarks.cancel_elsewhere", description=__doc__)
    parser.add_argument("--runs", type=int, default=20)
    runs = parser.parse_args().runs
    print("| asked | until its process is gone |\n|---|--:|", flush=True)
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as name, ExitStack() as stack:
        folder = Path(name)
        with sqlite_workers(folder / "sqlite") as (host, asked):
            report("another of 3 processes, SQLite", host, asked, runs)
        url = stack.enter_context(private_server()).url
        with two_hosts(folder / "hosts", {"CREWSERVE_DATABASE_URL": url}) as (host, asked):
            report("another host, PostgreSQL", host, asked, runs)
        for kind in ("rabbitmq", "redis"):
            with private_broker(kind) as broker:
                told = {"CREWSERVE_DATABASE_URL": url, "CREWSERVE_BROKER_URL": broker.url}
                with api_and_worker(folder / kind, told) as (host, asked):
                    report(f"an API, Celery over {kind}, PostgreSQL", host, asked, runs)


@contextmanager
def sqlite_workers(folder: Path) -> Iterator[tuple[Server, httpx.Client]]:
    with running([*COMMAND, "--workers", "3"], folder) as server:
        server.wait_for_flows()
        with asked_one_by_one(server, 3) as clients:
            leads = leader(server)
            yield server, next(client for pid, client in clients.items() if pid != leads)


@contextmanager
def two_hosts(folder: Path, told: dict[str, str]) -> Iterator[tuple[Server, httpx.Client]]:
    """The second one serves a flow that nobody starts, so all run on the first."""
    other = crewserve_serve(f"{FLOWS}/shapes.py:Routed")
    with (
        running(COMMAND, folder / "one", variables=told) as one,
        running(other, folder / "two", variables=told) as two,
    ):
        one.wait_for_flows()
        two.wait_for_flows()
        yield one, two.client


@contextmanager
def api_and_worker(folder: Path, told: dict[str, str]) -> Iterator[tuple[Server, httpx.Client]]:
    with (
        running(COMMAND, folder / "api", variables=told) as api,
        working(folder / "worker", FLOW, variables=told) as worker,
    ):
        worker.client.base_url = api.client.base_url
        yield worker, api.client


def report(how: str, host: Server, asked: httpx.Client, runs: int) -> None:
    """*host* runs the executions, *asked* is asked to cancel them."""
    lived = [cancelled(host, asked) for _ in range(runs)]
    print(f"| {how} | {statistics.median(lived):.0f} (max {max(lived):.0f}) |", flush=True)


def cancelled(host: Server, asked: httpx.Client) -> float:
    execution = host.execute_soon("sleeping", seconds=3600)
    child = host.child_of(execution)
    time.sleep(0.2)  # it sleeps by then
    began = time.perf_counter()
    answer = asked.post(f"/api/v1/executions/{execution}/cancel", json={"mode": "force"})
    answer.raise_for_status()
    until(lambda: not is_alive(child))
    return (time.perf_counter() - began) * 1000


def until(is_so: Callable[[], bool]) -> None:
    while not is_so():
        time.sleep(0.0005)


if __name__ == "__main__":
    main()
