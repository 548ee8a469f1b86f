"""What must be true of each execution of the flows in ``flows/durable.py``, whatever happened."""

from datetime import datetime
from pathlib import Path
from typing import Any, Final

from tests.support.diary import ends, entries, overlap_ns
from tests.support.servers import FLOWS

STEPS: Final = {
    "linear": {"one": 1, "two": 1, "three": 1},
    "looping": {"begin": 1, "turn": 2, "last": 1},
    "parallel": {"left": 1, "right": 1, "join": 1},
}
"""How often each step of a flow is called."""

TARGETS: Final = [f"{FLOWS}/durable.py:{path.capitalize()}" for path in STEPS]

OVERLAP_NS: Final = 5_000_000


def check_execution(
    found: dict[str, Any], recorded: list[dict[str, Any]], path: str, diary: Path
) -> None:
    """It completed once, and no step began again after the end that was recorded."""
    assert (found["status"], found["result"]) == ("completed", 3), found
    outcomes = [one["outcome"] for one in found["attempts"]]
    assert (outcomes.count("completed"), outcomes[-1]) == (1, "completed"), found
    done = ends(diary)
    assert done.keys() == STEPS[path].keys()
    assert all(done[name] >= count for name, count in STEPS[path].items()), done
    _check_finished_steps(recorded, path, diary)
    assert overlap_ns(diary) <= OVERLAP_NS, entries(diary)


def _check_finished_steps(recorded: list[dict[str, Any]], path: str, diary: Path) -> None:
    for name, calls in STEPS[path].items():
        mine = [step for step in recorded if step["name"] == name]
        assert len(mine) == calls, recorded
        last = max(datetime.fromisoformat(step["ended_at"]).timestamp() for step in mine)
        again = [
            entry
            for entry in entries(diary)
            if entry.step == f"{name}.begin" and entry.time_ns / 1e9 > last + 0.001
        ]
        assert again == [], (name, recorded, entries(diary))
