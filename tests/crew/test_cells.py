"""A child's folder becomes the folder of an execution, and the other way round."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from crewserve.crew.cells import Cells


@pytest.fixture
def cells(tmp_path: Path) -> Cells:
    return Cells(tmp_path / "executions")


@pytest.fixture
def made(cells: Cells) -> Iterator[tuple[Path, int]]:
    cell, descriptor = cells.make()
    yield cell, descriptor
    os.close(descriptor)


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def test_the_folder_itself_is_handed_over(cells: Cells, made: tuple[Path, int]) -> None:
    cell, descriptor = made
    cells.assign(cell, cells.executions / "first")
    assert (cells.executions / "first").stat().st_ino == os.fstat(descriptor).st_ino
    assert names(cells.executions) == {"first"}


def test_what_an_earlier_attempt_left_is_there(cells: Cells, made: tuple[Path, int]) -> None:
    earlier = cells.executions / "first"
    (earlier / "files").mkdir(parents=True)
    (earlier / "files" / "kept.txt").write_text("kept")
    cells.assign(made[0], earlier)
    assert (earlier / "files" / "kept.txt").read_text() == "kept"
    assert earlier.stat().st_ino == os.fstat(made[1]).st_ino


def test_a_child_that_is_used_again_leaves_what_it_wrote(
    cells: Cells, made: tuple[Path, int]
) -> None:
    first = cells.executions / "first"
    cells.assign(made[0], first)
    (first / "kept.txt").write_text("kept")
    cell = cells.take_back(first)
    assert (first / "kept.txt").read_text() == "kept"
    assert first.stat().st_ino != os.fstat(made[1]).st_ino
    assert cell.stat().st_ino == os.fstat(made[1]).st_ino
    assert names(cell) == set()


def test_an_execution_that_wrote_nothing_leaves_nothing(
    cells: Cells, made: tuple[Path, int]
) -> None:
    cells.assign(made[0], cells.executions / "first")
    cell = cells.take_back(cells.executions / "first")
    assert names(cells.executions) == {cell.name}


def test_only_folders_whose_child_has_ended_are_tidied_up(
    cells: Cells, made: tuple[Path, int]
) -> None:
    _, descriptor = cells.make()
    os.close(descriptor)
    (cells.executions / "first").mkdir()
    cells.tidy()
    assert names(cells.executions) == {made[0].name, "first"}
