"""Whether this machine has memory for one more execution."""

from pathlib import Path
from typing import Final

FREE_SHARE: Final = 0.15
"""Of the machine's memory; below this nothing is claimed, so that nothing running is killed."""

FRESH_SECONDS: Final = 0.1
"""For which it is worth knowing: what begins meanwhile has not yet filled its memory."""


def has_memory() -> bool:
    """True also where the system does not tell."""
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
    except OSError:
        return True
    sizes = {
        name: int(rest.split()[0]) for name, _, rest in (line.partition(":") for line in lines)
    }
    return sizes.get("MemAvailable", 1) > FREE_SHARE * sizes.get("MemTotal", 1)
