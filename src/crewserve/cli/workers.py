"""Several processes that answer requests on one port."""

import ctypes
import os
import signal
import socket
import sys
from typing import Any, Final

import uvicorn
from uvicorn.config import STARTUP_FAILURE
from uvicorn.supervisors import Multiprocess

from crewserve.cli.errors import CannotStart

HANG_SECONDS: Final = 60
"""A process from which its parent hears nothing for so long is replaced. Imports take seconds on a
busy machine."""

LOOK_SECONDS: Final = 0.1

_PR_SET_PDEATHSIG: Final = 1


class WorkerConfig(uvicorn.Config):
    """What each of the processes is given; only they load it."""

    def __init__(self, app: str, **options: Any) -> None:
        super().__init__(app, **options, timeout_worker_healthcheck=HANG_SECONDS)
        self.parent = os.getpid()

    def load(self) -> None:
        os.setsid()  # Ctrl-C in a terminal is for the parent, which passes it on
        _stop_with(self.parent)
        super().load()


def _stop_with(parent: int) -> None:
    """Have the kernel ask this process to stop when *parent* ends, however it ends (prctl(2))."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() != parent:  # it ended before the kernel knew
        signal.raise_signal(signal.SIGTERM)


class Workers(Multiprocess):
    """Replaces those that end, and ends them all."""

    def join_all(self) -> None:
        """A second signal tells them not to wait for what runs.

        That is always SIGINT: whatever sends SIGTERM to this process may have sent it to all.
        """
        for worker in self.processes:
            while worker.process.is_alive():
                worker.process.join(LOOK_SECONDS)
                if self.signal_queue:
                    self.signal_queue.clear()
                    self._hurry()

    def _hurry(self) -> None:
        for worker in self.processes:
            if worker.pid is not None and worker.process.is_alive():
                os.kill(worker.pid, signal.SIGINT)


def run_workers(config: WorkerConfig, listener: socket.socket) -> None:
    """Until a signal. Raises: CannotStart."""
    workers = Workers(config, [listener])
    workers.run()
    if any(worker.exitcode == STARTUP_FAILURE for worker in workers.processes):
        raise CannotStart("The server could not start; its log above says why")
