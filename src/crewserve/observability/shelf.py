"""One answer for all processes of a host that answer on one port.

Each counts for itself and writes what it has counted into a file of its own. Whoever is asked adds
them up. It never reads less than somebody else has read before, so counters never seem to fall:
its own file is written before it reads, and the files of processes that ended stay.
"""

import json
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from prometheus_client.core import Metric

SUFFIX: Final = ".json"
Labels = tuple[tuple[str, str], ...]


@dataclass(slots=True, eq=False)
class Shelf:
    """The files of one host."""

    folder: Path
    name: str
    """Of this process; nobody else ever has it."""
    is_gone: Callable[[str], bool]
    """Whether that process certainly does not run any more."""

    def clear(self) -> None:
        """Begin anew, unless another process goes on that has begun before."""
        self.folder.mkdir(parents=True, exist_ok=True)
        files = list(self.folder.glob(f"*{SUFFIX}"))
        if all(self.is_gone(file.stem) for file in files):
            for file in files:
                file.unlink(missing_ok=True)

    def put(self, families: Iterable[Metric]) -> None:
        """Let the others know what is counted here."""
        file = self.folder / f"{self.name}{SUFFIX}"
        draft = file.with_suffix(".new")
        draft.write_text(json.dumps([_written(family) for family in families]))
        draft.replace(file)  # nobody reads half of it

    def add_up(self) -> Collection[Metric]:
        """Of what all have put. What is not counted but measured ends with its process."""
        sums: dict[str, Metric] = {}
        values: dict[str, dict[tuple[str, Labels], float]] = {}
        for file in sorted(self.folder.glob(f"*{SUFFIX}")):
            ended = self.is_gone(file.stem)
            for name, kind, text, samples in json.loads(file.read_text()):
                if ended and kind == "gauge":
                    continue
                sums.setdefault(name, Metric(name, text, kind))
                found = values.setdefault(name, {})
                for sample, labels, value in samples:
                    key = (sample, tuple((label, told) for label, told in labels.items()))
                    found[key] = found.get(key, 0.0) + value
        for name, found in values.items():
            for (sample, labels), value in found.items():
                sums[name].add_sample(sample, dict(labels), value)
        return sums.values()


def _written(family: Metric) -> list[Any]:
    samples = [
        [sample.name, sample.labels, sample.value]
        for sample in family.samples
        if not sample.name.endswith("_created")
    ]
    return [family.name, family.type, family.documentation, samples]
