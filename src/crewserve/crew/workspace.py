"""The folder, the output file and the restored process of one execution."""

import contextlib
import os
import signal
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from crewserve.crew import environment
from crewserve.crew.cells import FILES
from crewserve.crew.internals import AFTER_RUN, strange_threads
from crewserve.crew.processes import has_children

OUTPUT = "output.log"
"""What the flow printed, on either stream."""


@dataclass(frozen=True, slots=True)
class Workspace:
    """Where one execution works."""

    folder: Path

    @contextlib.contextmanager
    def entered(self, variables: dict[str, str]) -> Iterator[None]:
        """Run in the execution's own folder, with its own environment and output file."""
        home, before = Path.cwd(), environment.set_for_execution(variables)
        files = self.folder / FILES
        files.mkdir(parents=True, exist_ok=True)
        os.chdir(files)
        with self._captured():
            yield
        os.chdir(home)
        environment.restore(before)
        self._remove_if_unused(files)  # the host removes the folder itself

    @contextlib.contextmanager
    def _captured(self) -> Iterator[None]:
        output = os.open(self.folder / OUTPUT, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        saved = [os.dup(stream) for stream in (1, 2)]
        for stream in (1, 2):
            os.dup2(output, stream)
        os.close(output)
        yield
        for text in (sys.stdout, sys.stderr):
            with contextlib.suppress(OSError, ValueError):
                text.flush()
        for stream, copy in zip((1, 2), saved, strict=True):
            os.dup2(copy, stream)
            os.close(copy)

    def _remove_if_unused(self, files: Path) -> None:
        """An execution that wrote nothing leaves nothing."""
        output = self.folder / OUTPUT
        with contextlib.suppress(OSError):
            if output.stat().st_size == 0:
                output.unlink()
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
