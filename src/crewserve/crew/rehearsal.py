"""Finding out which modules a first run imports, so that the template can import them before.

CrewAI and its providers import much only when it is needed. A copy of the template that is thrown
away does a first run; whatever it imported, the template imports then, without ever running it.
"""

import contextlib
import importlib
import json
import os
import signal
import sys
import tempfile
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

from crewserve.crew.internals import silence_console

SECONDS: Final = 20
"""The copy is killed after this time; then first runs are slower, and nothing else."""


def preload(notes: Path) -> None:
    """Import what a first run would import. Failures do not matter here.

    *notes* keeps the list for the next start with the same CrewAI and Python.
    """
    names = _noted(notes) or _rehearsed()
    for name in names:
        with contextlib.suppress(Exception):
            importlib.import_module(name)
    with contextlib.suppress(OSError):
        notes.write_text(json.dumps({"of": _versions(), "modules": names}))


def _noted(notes: Path) -> list[str]:
    try:
        found = json.loads(notes.read_text())
    except (OSError, ValueError):
        return []
    return list(found["modules"]) if found.get("of") == _versions() else []


def _versions() -> str:
    return f"crewai {version('crewai')}, openai {version('openai')}, Python {sys.version}"


def _rehearsed() -> list[str]:
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(reading)
        _rehearse(writing)
    os.close(writing)
    with os.fdopen(reading, "rb") as pipe:
        text = pipe.read()
    os.waitpid(pid, 0)
    return json.loads(text) if text else []


def _rehearse(writing: int) -> None:
    signal.alarm(SECONDS)
    null = os.open(os.devnull, os.O_RDWR)
    for stream in (1, 2):
        os.dup2(null, stream)
    before = set(sys.modules)
    with contextlib.suppress(BaseException), tempfile.TemporaryDirectory() as storage:
        os.environ["CREWAI_STORAGE_DIR"] = storage
        _run_a_crew()
    with os.fdopen(writing, "wb") as pipe:
        pipe.write(json.dumps(sorted(set(sys.modules) - before)).encode())
    os._exit(0)


def _run_a_crew() -> None:
    """A flow with a crew, whose model cannot be reached: port 9 of loopback discards."""
    crewai: Any = importlib.import_module("crewai")
    flow: Any = importlib.import_module("crewai.flow.flow")

    class Rehearsal(flow.Flow):  # type: ignore[misc]  # CrewAI is loaded by name here
        """Touches what flows commonly use."""

        @flow.start()  # type: ignore[untyped-decorator]
        def begin(self) -> None:
            model = crewai.LLM(
                model="openai/none", base_url="http://127.0.0.1:9", api_key="none", max_retries=0
            )
            agent = crewai.Agent(role="a", goal="b", backstory="c", llm=model, max_retry_limit=0)
            task = crewai.Task(description="d", expected_output="e", agent=agent)
            crewai.Crew(agents=[agent], tasks=[task]).kickoff()

    silence_console()
    Rehearsal().kickoff()
