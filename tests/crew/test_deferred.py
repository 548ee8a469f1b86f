"""What is opened later must be the same thing in the end."""

import subprocess
import sys
from pathlib import Path

import pytest

MEMORY = """
import os, sys, warnings; warnings.simplefilter("ignore")
from crewserve.crew import deferred
deferred.install()
from crewai.flow.flow import Flow, start
from crewai.memory.unified_memory import Memory

class Remembers(Flow):
    @start()
    def begin(self): ...

folder = os.environ["CREWAI_STORAGE_DIR"]
flow = Remembers()
flow.memory.close()
print("unused:", os.path.exists(folder + "/memory"))
os.environ["CREWAI_STORAGE_DIR"] = "/nowhere"
print("records:", flow.memory.list_records(), os.path.exists(folder + "/memory"))
print("chosen:", type(Memory(storage=folder + "/other")._storage).__name__)
"""

FORK = """
import os, threading, warnings; warnings.simplefilter("ignore")
from crewserve.crew import deferred
deferred.install()
import lancedb
folder = os.environ["CREWAI_STORAGE_DIR"]
pid = os.fork()
if pid == 0:
    before = threading.active_count()
    table = lancedb.connect(folder).create_table("t", [{"n": 1}])
    print(before, table.count_rows(), flush=True)
    os._exit(0)
os.waitpid(pid, 0)
"""


@pytest.mark.parametrize(
    ("code", "printed"),
    [
        (MEMORY, "unused: False\nrecords: [] True\nchosen: LanceDBStorage"),
        (FORK, "1 1"),
    ],
    ids=["a memory is opened where it was made, when it is used", "the loop starts in a fork"],
)
def test_it_is_opened_when_it_is_used(code: str, printed: str, tmp_path: Path) -> None:
    from crewserve.crew.environment import QUIET

    environment = {**QUIET, "CREWAI_STORAGE_DIR": str(tmp_path), "OPENAI_API_KEY": "none"}
    run = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
        env=environment,
    )
    assert run.stdout.strip() == printed
