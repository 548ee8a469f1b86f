"""What /proc tells about processes. Linux only."""

import os
from contextlib import suppress
from pathlib import Path

KIB_PER_MIB = 1024

CREWAI_LIBRARIES = ("jiter", "numpy")
"""Compiled packages that `import crewai` loads and an API has no other reason to load."""


def resident_mib(pid: int) -> float:
    return _rollup_mib(pid, ("Rss",))


def private_mib(pid: int) -> float:
    """What would be free if the process ended."""
    return _rollup_mib(pid, ("Private_Clean", "Private_Dirty"))


def _rollup_mib(pid: int, fields: tuple[str, ...]) -> float:
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    parts = (line.partition(":") for line in lines)
    return sum(int(value.split()[0]) for name, _, value in parts if name in fields) / KIB_PER_MIB


def has_crewai(pid: int) -> bool:
    maps = Path(f"/proc/{pid}/maps").read_text()
    return any(f"/{library}/" in maps for library in CREWAI_LIBRARIES)


def working_in(folder_name: str) -> int | None:
    """The process whose working directory is in a folder of this name."""
    for process in Path("/proc").iterdir():
        if not process.name.isdigit():
            continue
        with suppress(OSError):  # it ended, or belongs to somebody else
            if folder_name in (process / "cwd").readlink().parts:
                return int(process.name)
    return None


def cpu_seconds(pid: int) -> float:
    """Of the process alone, since it began."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
