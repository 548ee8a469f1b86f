"""What a supervisor records events with."""

from collections.abc import Callable
from datetime import timedelta
from functools import partial
from typing import Protocol

from crewserve.application.live import Live
from crewserve.ports import EventLog, Held, OutputLog
from crewserve.worker.recorder import Recorder


class Logs(EventLog, OutputLog, Protocol):
    """Both, of one database."""


def recording(log: Logs, live: Live | None = None) -> Callable[[Held], Recorder]:
    """Into *log*, with all content."""
    live = live or Live(timedelta(seconds=0.05))
    return partial(Recorder, log=log, live=live, with_content=True, output_log=log)
