"""A child's folder becomes the folder of an execution, and the other way round."""

import asyncio
import fcntl
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from crewserve.crew import cells as folders
from crewserve.crew.cells import DEEPEST, Cells
from tests.support.waiting import eventually

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")

FIRST, SECOND, GROUP = 200_001, 200_002, 200_000


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


async def test_the_folder_itself_is_handed_over(cells: Cells, made: tuple[Path, int]) -> None:
    cell, descriptor = made
    await cells.assign(cell, cells.executions / "first")
    assert (cells.executions / "first").stat().st_ino == os.fstat(descriptor).st_ino
    assert names(cells.executions) == {"first"}


async def test_what_an_earlier_attempt_left_is_there(cells: Cells, made: tuple[Path, int]) -> None:
    earlier = cells.executions / "first"
    (earlier / "files").mkdir(parents=True)
    (earlier / "files" / "kept.txt").write_text("kept")
    await cells.assign(made[0], earlier)
    assert (earlier / "files" / "kept.txt").read_text() == "kept"
    assert earlier.stat().st_ino == os.fstat(made[1]).st_ino


async def test_a_child_that_is_used_again_leaves_what_it_wrote(
    cells: Cells, made: tuple[Path, int]
) -> None:
    first = cells.executions / "first"
    await cells.assign(made[0], first)
    (first / "kept.txt").write_text("kept")
    cell = await cells.take_back(first)
    assert (first / "kept.txt").read_text() == "kept"
    assert first.stat().st_ino != os.fstat(made[1]).st_ino
    assert cell.stat().st_ino == os.fstat(made[1]).st_ino
    assert names(cell) == set()


async def test_an_execution_that_wrote_nothing_leaves_nothing(
    cells: Cells, made: tuple[Path, int]
) -> None:
    await cells.assign(made[0], cells.executions / "first")
    cell = await cells.take_back(cells.executions / "first")
    cells.close(cells.executions / "first")
    assert names(cells.executions) == {cell.name}


def test_only_folders_whose_child_has_ended_are_tidied_up(
    cells: Cells, made: tuple[Path, int]
) -> None:
    _, descriptor = cells.make()
    os.close(descriptor)
    (cells.executions / "first").mkdir()
    cells.tidy()
    assert names(cells.executions) == {made[0].name, "first"}


def a_cell_of(cells: Cells, user: int) -> Path:
    cell, descriptor = cells.make()
    os.chown(cell, user, GROUP)
    os.close(descriptor)
    return cell


async def an_attempt(cells: Cells, user: int, write: Callable[[Path], None]) -> Path:
    """The folder of an execution after one that *write*s as *user*."""
    folder = cells.executions / "first"
    await cells.assign(a_cell_of(cells, user), folder)
    as_user(user, write, folder)
    cells.close(folder)
    return folder


def as_user(user: int, write: Callable[[Path], None], folder: Path) -> None:
    """What *write* makes belongs to them; links may lead to what is root's."""
    before = set(folder.rglob("*"))
    write(folder)
    for path in set(folder.rglob("*")) - before:
        if path.is_symlink() or path.stat().st_nlink == 1 or path.is_dir():
            os.lchown(path, user, GROUP)


def owners(tree: Path) -> set[int]:
    return {path.lstat().st_uid for path in (tree, *tree.rglob("*"))}


@pytest.fixture
def of_the_server(tmp_path: Path) -> Path:
    """A folder that no flow may get."""
    found = tmp_path / "server"
    (found / "inner").mkdir(parents=True)
    (found / "inner" / "secret").write_text("secret")
    return found


@needs_root
async def test_the_next_attempt_gets_what_the_one_before_made(cells: Cells) -> None:
    def write(folder: Path) -> None:
        (folder / "files" / "inner").mkdir(parents=True)
        (folder / "files" / "inner" / "kept.txt").write_text("kept")

    folder = await an_attempt(cells, FIRST, write)
    await cells.assign(a_cell_of(cells, SECOND), folder)
    assert owners(folder) == {SECOND}


@needs_root
async def test_links_give_nobody_what_is_not_theirs(cells: Cells, of_the_server: Path) -> None:
    def write(folder: Path) -> None:
        (folder / "evil").symlink_to(of_the_server)
        (folder / "files").mkdir()
        (folder / "files" / "evil").symlink_to(of_the_server / "inner")
        (folder / "hard").hardlink_to(of_the_server / "inner" / "secret")

    folder = await an_attempt(cells, FIRST, write)
    await cells.assign(a_cell_of(cells, SECOND), folder)
    assert owners(of_the_server) == {0}
    await cells.take_back(folder)
    assert owners(of_the_server) == {0}
    assert (folder / "evil").is_symlink()


@needs_root
async def test_the_last_name_of_a_foreign_file_gives_nobody_that_file(
    cells: Cells, of_the_server: Path
) -> None:
    secret = of_the_server / "inner" / "secret"
    folder = await an_attempt(cells, FIRST, lambda folder: (folder / "f").hardlink_to(secret))
    secret.unlink()
    await cells.assign(a_cell_of(cells, SECOND), folder)
    assert (folder / "f").stat().st_uid == 0


@needs_root
async def test_a_swap_at_the_last_moment_gives_nothing_away(
    cells: Cells, of_the_server: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def swap(path: str, user: int, group: int) -> None:
        """As a process that was left behind does between a look and the gift."""
        current = Path(path).readlink()
        if current.name in {"files", "plain"}:
            current.rename(current.with_name("away"))
            current.symlink_to(of_the_server, target_is_directory=True)
        chown(path, user, group)

    def write(folder: Path) -> None:
        (folder / "files" / "inner").mkdir(parents=True)
        (folder / "files" / "inner" / "plain").write_text("plain")

    chown = os.chown
    folder = await an_attempt(cells, FIRST, write)
    cell = a_cell_of(cells, SECOND)
    monkeypatch.setattr(os, "chown", swap)
    await cells.assign(cell, folder)
    assert (folder / "files").is_symlink()
    assert owners(of_the_server) == {0}


@needs_root
async def test_what_lies_too_deep_stays_and_takes_no_descriptors(cells: Cells) -> None:
    def write(folder: Path) -> None:
        folder.joinpath(*["d"] * (DEEPEST + 10)).mkdir(parents=True)

    folder = await an_attempt(cells, FIRST, write)
    await cells.assign(a_cell_of(cells, SECOND), folder)
    assert folder.joinpath(*["d"] * DEEPEST).stat().st_uid == SECOND
    assert folder.joinpath(*["d"] * (DEEPEST + 5)).stat().st_uid == FIRST


@needs_root
async def test_after_its_end_nobody_passes_into_a_folder(cells: Cells) -> None:
    folder = await an_attempt(cells, FIRST, lambda folder: (folder / "f").touch())
    found = folder.stat()
    assert (found.st_uid, found.st_mode & 0o777) == (0, 0o700)


async def test_the_loop_goes_on_while_files_are_handed_over(
    cells: Cells, made: tuple[Path, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    going = threading.Event()
    monkeypatch.setattr(folders, "_hand_over", lambda *_: going.wait(20))
    (cells.executions / "first" / "files").mkdir(parents=True)
    assigning = asyncio.create_task(cells.assign(made[0], cells.executions / "first"))
    await asyncio.sleep(0)
    assigning.cancel()
    await asyncio.sleep(0)
    assert not assigning.done(), "another attempt could begin while the files are on their way"
    going.set()
    with pytest.raises(asyncio.CancelledError):
        await assigning


async def test_a_cell_that_was_tidied_up_before_it_was_locked_is_not_used(
    cells: Cells, monkeypatch: pytest.MonkeyPatch
) -> None:
    def tidied_up_by_another(descriptor: int, how: int) -> None:
        monkeypatch.undo()
        cells.tidy()
        fcntl.flock(descriptor, how)

    monkeypatch.setattr(fcntl, "flock", tidied_up_by_another)
    cell, descriptor = cells.make()
    assert os.path.samestat(cell.stat(), os.fstat(descriptor))
    os.close(descriptor)


def test_cells_of_other_hosts_are_left_alone(cells: Cells, monkeypatch: pytest.MonkeyPatch) -> None:
    cell, descriptor = cells.make()
    os.close(descriptor)
    monkeypatch.setattr(folders, "_PREFIX", ".cell-elsewhere-")
    cells.tidy()
    assert cell.exists()


@needs_root
async def test_a_host_that_starts_closes_what_another_left_open(cells: Cells) -> None:
    old = cells.executions / "from-before-there-were-users"
    old.mkdir(mode=0o755, parents=True)
    (old / "f").touch()
    lives, locked = cells.make()
    dead, descriptor = cells.make()
    os.close(descriptor)
    for cell, name in ((lives, "lives"), (dead, "dead")):
        os.chown(cell, FIRST, GROUP)
        await cells.assign(cell, cells.executions / name)
        (cells.executions / name / "f").touch()
    cells.tidy()
    found = {path.name: path.stat() for path in cells.executions.iterdir()}
    assert {one.st_mode & 0o777 for one in found.values()} == {0o700}
    assert {name: one.st_uid for name, one in found.items()} == {
        old.name: 0,
        "lives": FIRST,
        "dead": 0,
    }
    os.close(locked)


def test_what_a_child_hid_in_its_cell_stops_nobody(cells: Cells, made: tuple[Path, int]) -> None:
    deepest = os.dup(made[1])
    for _ in range(2 * sys.getrecursionlimit()):
        os.mkdir("d", dir_fd=deepest)
        below = os.open("d", os.O_RDONLY, dir_fd=deepest)
        os.close(deepest)
        deepest = below
    os.close(deepest)
    folders.remove(made[0])
    eventually(lambda: "cell-removal" not in {thread.name for thread in threading.enumerate()})
    subprocess.run(["rm", "-rf", made[0]], check=True)  # pytest could not


def test_what_a_child_left_in_its_cell_is_removed(cells: Cells) -> None:
    cell, descriptor = cells.make()
    os.close(descriptor)
    (cell / "f").touch()
    folders.remove(cell)
    eventually(lambda: not cell.exists())
