"""Measure each engine and store, beside plain Celery: `python -m benchmarks.engines [--write]`."""

import argparse
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import Final

import uvloop

from benchmarks.load import percentile, seconds_to_end, submit
from benchmarks.measures import NOOP, Figures, start_delays
from benchmarks.report import write_section
from benchmarks.servers import QUIET, ROOT
from deploy.brokers import KINDS, RedisServer
from deploy.cluster import NO_BROKER, Cluster, Plan
from deploy.members import Api, Worker
from deploy.ports import free_port
from deploy.waiting import eventually

APP: Final = "benchmarks.measured_app:app"
BASELINE: Final = "benchmarks.baseline.celery_app"
PYTHON: Final = sys.executable

SETTINGS: Final = {**QUIET, "MODEL": "openai/none"}

CLIENTS: Final = 20
NOOPS: Final = 300
SLEEPERS: Final = 40

ABOUT: Final = f"""## Engines and stores

`python -m benchmarks.engines --write` measures one API with two workers (without a broker: two
hosts that serve and work), all on one machine, so that brokers and databases take their share of
it. *Plain Celery* is what people write by hand: FastAPI, a task that calls `kickoff()`, two workers
with Celery's defaults and a result backend; it imports CrewAI in every process, runs many
executions in one, and loses or repeats what a crash interrupts. {NOOPS} no-op executions, one
after the other for their start, and {SLEEPERS} that sleep two seconds.
"""

ROWS: Final = {
    "submissions": "Submissions/s",
    "noops": "No-op executions/s to the end",
    "start_p50": "Idle: submit to first step, p50, ms",
    "start_p99": "… p99, ms",
    "sleepers": f"{SLEEPERS} x `time.sleep(2)`, s",
}


class MeasuredApi(Api):
    @property
    def command(self) -> list[str]:
        return [PYTHON, "-m", "benchmarks.run_measured", "--port", str(self.port)]


class MeasuredWorker(Worker):
    @property
    def command(self) -> list[str]:
        return [*super().command[:2], "--app", APP]


Site = AbstractContextManager[int]
"""Gives the port of an API that is ready."""


@contextmanager
def on_sqlite() -> Iterator[int]:
    with tempfile.TemporaryDirectory(dir=ROOT / ".crewserve", ignore_cleanup_errors=True) as folder:
        environment = {**os.environ, **SETTINGS}
        api = MeasuredApi(name="api", flows=(), folder=Path(folder), environment=environment)
        api.start()
        try:
            api.wait_until_ready()
            yield api.port
        finally:
            api.stop()
            api.kill()


@contextmanager
def on_cluster(broker: str) -> Iterator[int]:
    apis, workers = (2, 0) if broker == NO_BROKER else (1, 2)
    kinds = {"api": MeasuredApi, "worker": MeasuredWorker}
    plan = Plan(broker=broker, apis=apis, workers=workers, settings=SETTINGS, **kinds)
    with Cluster(plan) as cluster:
        yield cluster.apis[0].port


@contextmanager
def on_plain_celery(broker: str) -> Iterator[int]:
    """Results are in Redis, whatever the broker is."""
    port = free_port()
    with ExitStack() as stack:
        queue, results = KINDS[broker](), RedisServer()
        for server in (queue, results):
            stack.callback(server.remove)
            server.start()
        told = {"BROKER_URL": queue.url, "RESULT_URL": results.url}
        variables = {**os.environ, **QUIET, **told, "CREWAI_STORAGE_DIR": str(results.folder)}
        api = ["uvicorn", f"{BASELINE}:app", "--port", str(port), "--no-access-log"]
        worker = ["celery", "-A", f"{BASELINE}:queue", "worker", "-l", "INFO", "-n"]
        logs = []
        for name, command in {"api": api, "one": [*worker, "1@h"], "two": [*worker, "2@h"]}.items():
            logs.append(log := results.folder / f"{name}.log")
            stack.enter_context(_process(command, variables, log))
        for log, word in zip(logs, ("startup complete", " ready.", " ready."), strict=True):
            eventually(partial(_says, log, word), what=f"{log.stem} is ready")
        yield port


@contextmanager
def _process(command: Sequence[str], variables: Mapping[str, str], log: Path) -> Iterator[None]:
    with log.open("wb") as output:
        process = subprocess.Popen(
            [PYTHON, "-m", *command], cwd=ROOT, env=variables, stdout=output, stderr=output
        )
    try:
        yield
    finally:
        process.terminate()
        process.wait()


def _says(log: Path, word: str) -> bool:
    return word in log.read_text()


SITES: Final[dict[str, Callable[[], Site]]] = {
    "SQLite": on_sqlite,
    "PostgreSQL": partial(on_cluster, NO_BROKER),
    "RabbitMQ": partial(on_cluster, "rabbitmq"),
    "plain Celery, RabbitMQ": partial(on_plain_celery, "rabbitmq"),
    "Redis": partial(on_cluster, "redis"),
    "plain Celery, Redis": partial(on_plain_celery, "redis"),
}


async def _measure(port: int) -> Figures:
    warm = await submit(port, NOOP, {}, count=50, clients=CLIENTS)
    await seconds_to_end(port, NOOP, warm)
    delays = await start_delays(port, 100)
    noops = await submit(port, NOOP, {}, count=NOOPS, clients=CLIENTS)
    seconds = await seconds_to_end(port, NOOP, noops)
    sleepers = await submit(port, NOOP, {"seconds": 2}, count=SLEEPERS, clients=CLIENTS)
    return {
        "submissions": NOOPS / noops.seconds,
        "noops": NOOPS / seconds,
        "start_p50": percentile(delays, 0.5),
        "start_p99": percentile(delays, 0.99),
        "sleepers": await seconds_to_end(port, NOOP, sleepers),
    }


def _measure_all(names: Sequence[str]) -> dict[str, Figures]:
    found = {}
    for name in names:
        with SITES[name]() as port:
            found[name] = uvloop.run(_measure(port))
        shown = ", ".join(f"{key} {figure:.4g}" for key, figure in found[name].items())
        print(f"{name}: {shown}", file=sys.stderr, flush=True)
    return found


def table(found: dict[str, Figures]) -> str:
    """A column for each site."""
    lines = [f"| | {' | '.join(found)} |", f"|---|{'--:|' * len(found)}"]
    for key, title in ROWS.items():
        cells = " | ".join(f"{figures[key]:.3g}" for figures in found.values())
        lines.append(f"| {title} | {cells} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser("python -m benchmarks.engines", description=__doc__)
    parser.add_argument("--only", nargs="*", choices=SITES, default=list(SITES))
    parser.add_argument("--write", action="store_true", help="also write docs/benchmarks.md")
    said = parser.parse_args()
    text = f"{ABOUT}\n{table(_measure_all(said.only))}\n"
    print(text)
    if said.write:
        write_section(text)


if __name__ == "__main__":
    main()
