"""CrewAI itself, imported once, quietly."""

import os
import warnings
from pathlib import Path

import pytest

from crewserve.crew.environment import QUIET


@pytest.fixture(scope="session")
def crewai(tmp_path_factory: pytest.TempPathFactory) -> None:
    os.environ.update(QUIET)
    os.environ["CREWAI_STORAGE_DIR"] = str(Path(tmp_path_factory.mktemp("crewai")).resolve())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import crewai.flow.flow  # noqa: F401
