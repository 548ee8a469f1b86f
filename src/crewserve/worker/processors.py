"""Whether this machine has a processor for one more execution."""

import os
from pathlib import Path
from typing import Final

CROWD: Final = 2
"""Processes for each core that run or could run. With more, each start only slows down those that
have begun, and the API: a burst of short executions took a third more time on two cores."""

FRESH_SECONDS: Final = 0.01
"""For which it is worth knowing: executions that end together are looked at once."""


def are_busy() -> bool:
    """False also where the system does not tell (proc(5), /proc/loadavg)."""
    try:
        runnable = Path("/proc/loadavg").read_text().split()[3].partition("/")[0]
    except OSError:
        return False
    return int(runnable) > CROWD * (os.cpu_count() or 1)
