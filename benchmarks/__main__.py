"""Measure crewserve and the baseline in turn: `python -m benchmarks [--rounds 3] [--write]`."""

import argparse
import asyncio
import os
import platform
import signal
import sys
import tempfile
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Final

import uvloop

from benchmarks.load import MeasurementFailed
from benchmarks.measures import MEASURES, Figures
from benchmarks.report import Round, table, write_section
from benchmarks.servers import BASELINE, CREWSERVE, ROOT, Subject, provider, running

DATA: Final = ROOT / ".crewserve"
"""On the disk: the system's folder for temporary files may be in memory."""

ABOUT: Final = """# Benchmarks

`python -m benchmarks --write` measures crewserve against the design that the specification
describes: FastAPI's background tasks, executions in a dictionary, `flow.kickoff()` in a thread.
What the baseline does not do, and what crewserve pays for here: every accepted execution is on the
disk before the answer, each runs in a process of its own, and none is lost in a crash.

Each round starts both servers afresh, one uvicorn process each with its default settings, and the
order changes from round to round. Figures are medians; a ratio is taken within a round, because the
speed of a machine drifts. Every measurement follows 100 executions that are not counted.
"""


def main() -> int:
    """Returns the exit code."""
    parser = argparse.ArgumentParser("python -m benchmarks", description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", help=f"some of: {','.join(MEASURES)}", default=",".join(MEASURES))
    parser.add_argument("--write", action="store_true", help="also write docs/benchmarks.md")
    arguments = parser.parse_args()
    names = [name for name in MEASURES if name in arguments.only.split(",")]
    try:
        rounds = uvloop.run(_rounds(arguments.rounds, names))
    except MeasurementFailed as error:
        print(f"error: {error}", *getattr(error, "__notes__", []), sep="\n", file=sys.stderr)
        return 1
    except asyncio.CancelledError:
        return 130
    text = f"{ABOUT}\n{_machine(arguments.rounds)}\n\n{table(rounds)}\n"
    print(text)
    if arguments.write:
        write_section(text)
    return 0


async def _rounds(count: int, names: Sequence[str]) -> list[Round]:
    rounds: list[Round] = []
    _stop_servers_when_terminated()
    DATA.mkdir(exist_ok=True)
    place = tempfile.TemporaryDirectory(prefix="run-", dir=DATA, ignore_cleanup_errors=True)
    with place as folder:
        async with provider(Path(folder)) as provider_port:
            for number in range(1, count + 1):
                figures: dict[str, Figures] = {}
                order = (BASELINE, CREWSERVE) if number % 2 else (CREWSERVE, BASELINE)
                for subject in order:
                    data = Path(tempfile.mkdtemp(prefix=f"{subject.name}-", dir=folder))
                    figures[subject.name] = await _measured(subject, data, provider_port, names)
                rounds.append(figures)
    return rounds


def _stop_servers_when_terminated() -> None:
    task = asyncio.current_task()
    if task is not None:
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)


async def _measured(
    subject: Subject, folder: Path, provider_port: int, names: Sequence[str]
) -> Figures:
    figures: Figures = {}
    async with running(subject, folder, provider_port) as server:
        for name in names:
            load = os.getloadavg()[0]
            found = await MEASURES[name](server)
            shown = ", ".join(f"{key} {figure:.4g}" for key, figure in found.items())
            print(f"{subject.name} {name} (load {load:.1f}): {shown}", file=sys.stderr, flush=True)
            figures.update(found)
    return figures


def _machine(rounds: int) -> str:
    packages = ", ".join(f"{name} {version(name)}" for name in ("crewai", "fastapi", "uvicorn"))
    return (
        f"{datetime.now(UTC):%Y-%m-%d}, rounds: {rounds}, {_processor()}, {os.cpu_count()} cores, "
        f"Python {platform.python_version()}, {packages}."
    )


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        name, _, value = line.partition(":")
        if name.strip() == "model name":
            return value.strip()
    return platform.machine()


if __name__ == "__main__":
    sys.exit(main())
