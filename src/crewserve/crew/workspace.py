"""The folder and the restored process of one execution."""

import contextlib
import os
import signal
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from crewserve.crew import environment
from crewserve.crew.capture import captured
from crewserve.crew.cells import FILES
from crewserve.crew.events import Note
from crewserve.crew.internals import AFTER_RUN, strange_threads
from crewserve.crew.processes import has_children


@dataclass(frozen=True, slots=True)
class Workspace:
    """Where one execution works."""

    folder: Path

    @contextlib.contextmanager
    def entered(self, variables: dict[str, str], note: Note) -> Iterator[None]:
        """Run in the execution's own folder, with its own environment; *note* takes its output."""
        home, before = Path.cwd(), environment.set_for_execution(variables)
        files = self.folder / FILES
        files.mkdir(parents=True, exist_ok=True)
        os.chdir(files)
        with captured(note):
            yield
        os.chdir(home)
        environment.restore(before)
        self._remove_if_unused(files)  # the host removes the folder itself

    def _remove_if_unused(self, files: Path) -> None:
        """An execution that wrote nothing leaves nothing."""
        with contextlib.suppress(OSError):
            files.rmdir()


def is_clean(open_files: int) -> bool:
    """Whether another execution may run in this process: no thread, child or file is left."""
    handlers = [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGALRM)]
    default = all(handler is signal.SIG_DFL for handler in handlers)
    quiet = not strange_threads(AFTER_RUN) and not has_children()
    return quiet and default and count_open_files() <= open_files


def count_open_files() -> int:
    """File descriptors of this process."""
    return len(os.listdir("/proc/self/fd"))  # noqa: PTH208  # a tenth of the time: each run counts
