"""Figures of all rounds as one Markdown table."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Final

from benchmarks.measures import Figures

DOCUMENT: Final = Path(__file__).parents[1] / "docs" / "benchmarks.md"

Round = Mapping[str, Figures]
"""By server."""


@dataclass(frozen=True, slots=True)
class Goal:
    """A bound on the ratio to the baseline, or on crewserve's own figure."""

    bound: float
    at_least: bool = False
    of_baseline: bool = True

    def __str__(self) -> str:
        sign = "≥" if self.at_least else "≤"
        return f"{sign} {self.bound:g}{' x' if self.of_baseline else ''}"

    def is_met(self, figure: float, ratio: float | None) -> bool:
        """False as well when there is nothing to compare with."""
        found = ratio if self.of_baseline else figure
        if found is None:
            return False
        return found >= self.bound if self.at_least else found <= self.bound


@dataclass(frozen=True, slots=True)
class Row:
    title: str
    key: str
    goal: Goal | None = None
    against: str | None = None
    """The baseline's figure, where it is called otherwise."""


ROWS: Final = (
    Row("Submissions/s, 50 clients, n = 1,000", "accepted_per_second", Goal(1.2, at_least=True)),
    Row("… p50, ms", "submit_p50_ms"),
    Row("… p99, ms", "submit_p99_ms", Goal(0.5)),
    Row("One-agent crew, executions/s, n = 200", "crew_per_second", Goal(2.0, at_least=True)),
    Row("No-op executions/s to the end, n = 1,000", "noop_per_second"),
    Row(
        "… with `reuse`",
        "noop_reuse_per_second",
        Goal(2.0, at_least=True),
        against="noop_per_second",
    ),
    Row("200 x `time.sleep(2)`, s", "blocking_seconds", Goal(0.6)),
    Row(
        "… `/health` meanwhile, p99, ms",
        "blocking_health_p99_ms",
        Goal(50.0, of_baseline=False),
    ),
    Row("… `/health` meanwhile, worst, ms", "blocking_health_max_ms"),
    Row("Status polls/s, 8 connections", "polls_per_second", Goal(0.5, at_least=True)),
    Row("… p50, ms", "poll_p50_ms"),
    Row("… p99, ms", "poll_p99_ms"),
    Row("Idle: submit to first step, p50, ms", "first_step_p50_ms", Goal(1.0)),
    Row("… worst of 50, ms", "first_step_max_ms"),
    Row("Process start to first `/health`, s", "cold_health_seconds"),
    Row("Process start to flows loaded, s", "cold_ready_seconds"),
    Row("Memory of the API process (RSS), MiB", "api_mib"),
    Row("CrewAI in the API process (1: yes)", "api_has_crewai", Goal(0.0, of_baseline=False)),
    Row("Private memory of a running execution, MiB", "child_private_mib"),
)

HEADER: Final = (
    "| | baseline | crewserve | ratio [all rounds] | goal | |\n|---|--:|--:|--:|--:|:-:|"
)


def write_section(text: str) -> None:
    """Put *text*, which begins with its heading, where the document has that heading, or last."""
    heading = text.partition("\n")[0]
    parts = re.split(r"^(?=#+ )", DOCUMENT.read_text(), flags=re.MULTILINE)
    kept = [part.strip() for part in parts if part.strip()]
    same = [number for number, part in enumerate(kept) if part.partition("\n")[0] == heading]
    place = slice(same[0], same[0] + 1) if same else slice(len(kept), None)
    kept[place] = [text.strip()]
    DOCUMENT.write_text("\n\n".join(kept) + "\n")


def table(rounds: Sequence[Round]) -> str:
    """Medians of the figures, and the median of the ratios of each round."""
    lines = [_line(row, rounds) for row in ROWS]
    return "\n".join([HEADER, *(line for line in lines if line)])


def _line(row: Row, rounds: Sequence[Round]) -> str | None:
    ours = [figures["crewserve"].get(row.key) for figures in rounds]
    theirs = [figures["baseline"].get(row.against or row.key) for figures in rounds]
    known = [figure for figure in ours if figure is not None]
    if not known:
        return None
    compared = [figure for figure in theirs if figure is not None]
    ratios = [mine / other for mine, other in zip(ours, theirs, strict=True) if mine and other]
    ratio = median(ratios) if ratios else None
    verdict = ""
    if row.goal is not None:
        verdict = "yes" if row.goal.is_met(median(known), ratio) else "**no**"
    cells = (
        row.title,
        _number(median(compared)) if compared else "-",
        _number(median(known)),
        _spread(ratios),
        str(row.goal or ""),
        verdict,
    )
    return f"| {' | '.join(cells)} |"


def _spread(ratios: Sequence[float]) -> str:
    if not ratios:
        return ""
    every = ", ".join(f"{ratio:.2f}" for ratio in ratios)
    return f"{median(ratios):.2f} [{every}]"


def _number(figure: float) -> str:
    if figure >= 100:
        return f"{figure:,.0f}"
    return f"{figure:.1f}" if figure >= 10 else f"{figure:.2f}".rstrip("0").rstrip(".")
