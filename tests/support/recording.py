"""What a supervisor records events with."""

from collections.abc import Callable
from datetime import timedelta
from functools import partial

from crewserve.application.live import Live
from crewserve.ports import EventLog, Held
from crewserve.worker.recorder import Recorder


def recording(log: EventLog, live: Live | None = None) -> Callable[[Held], Recorder]:
    """Into *log*, with all content."""
    live = live or Live(timedelta(seconds=0.05))
    return partial(Recorder, log=log, live=live, with_content=True)
