"""What the flows of ``flows/durable.py`` wrote down."""

from collections import Counter
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple


class Entry(NamedTuple):
    """One line."""

    step: str
    """``name.begin`` or ``name.end``."""
    pid: int
    """Each attempt has a process of its own."""
    time_ns: int


def entries(diary: Path) -> list[Entry]:
    """In the order in which they were written."""
    if not diary.exists():
        return []
    lines = [line.split() for line in diary.read_text().splitlines()]
    return [Entry(step, int(pid), int(time)) for step, pid, time in lines]


def began(diary: Path, step: str) -> bool:
    """Whether *step* has begun in any attempt."""
    return any(entry.step == f"{step}.begin" for entry in entries(diary))


def ends(diary: Path) -> Counter[str]:
    """How often each step came to its end."""
    found = (entry.step for entry in entries(diary))
    return Counter(step.removesuffix(".end") for step in found if step.endswith(".end"))


def overlap_ns(diary: Path) -> int:
    """For how long two attempts ran user code at the same time, at most."""
    spans: dict[int, tuple[int, int]] = {}
    for entry in entries(diary):
        first, _ = spans.get(entry.pid, (entry.time_ns, 0))
        spans[entry.pid] = (first, entry.time_ns)
    ordered = sorted(spans.values())
    overlaps = [end - begin for (_, end), (begin, _) in pairwise(ordered)]
    return max(0, *overlaps) if overlaps else 0
