"""Whether the processors have enough to do."""

import os
import subprocess
import sys

from crewserve.worker.processors import CROWD, are_busy
from tests.support.waiting import eventually


def test_more_runnable_processes_than_the_cores_can_take_are_a_crowd() -> None:
    count = CROWD * (os.cpu_count() or 1) + 4
    spinning = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(count)]
    try:
        eventually(are_busy, what="the processors are busy")
    finally:
        for process in spinning:
            process.kill()
            process.wait()
    eventually(lambda: not are_busy(), what="the processors are free again")
