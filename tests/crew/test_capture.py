"""What a flow prints and logs is told: each line once, in order, and not without end."""

import builtins
import logging
import os
import subprocess
import sys
import threading
from typing import Any

import pytest

from crewserve.domain.output import MAX_LINE, MAX_LINES

pytestmark = [pytest.mark.usefixtures("crewai"), pytest.mark.filterwarnings("ignore")]

Told = list[dict[str, Any]]

say: Any = vars(builtins)["print"]
"""As flows print, which this project does not."""


def captured(note: Any) -> Any:
    from crewserve.crew.capture import captured as capturing

    return capturing(note)


def texts(told: Told, stream: str | None = None) -> list[str]:
    return [one["line"] for one in told if stream in (None, one["stream"])]


def test_every_way_to_write_is_told_in_order() -> None:
    told: Told = []
    with captured(told.append):
        say("printed")
        os.write(1, b"to the descriptor\n")
        say("to stderr", file=sys.stderr)
        subprocess.run(["sh", "-c", "echo by a child; echo aside >&2"], check=True)
        logging.getLogger("my.own").info("it took %d s", 3)
        sys.stdout.buffer.write("bÿtes\n".encode())
        say("no end", end="")
    found = [(one["stream"], one["line"]) for one in told]
    assert ("stderr", "aside") in found
    found.remove(("stderr", "aside"))  # of one process two pipes have no order
    assert found == [
        ("stdout", "printed"),
        ("stdout", "to the descriptor"),
        ("stderr", "to stderr"),
        ("stdout", "by a child"),
        ("log", "it took 3 s"),
        ("stdout", "bÿtes"),
        ("stdout", "no end"),
    ]
    [record] = [one for one in told if one["stream"] == "log"]
    assert (record["level"], record["logger"]) == ("info", "my.own")


def test_each_line_has_the_step_in_which_it_was_written() -> None:
    from crewserve.crew.events import within_step

    told: Told = []
    with captured(told.append):
        say("before")
        with within_step("write#2"):
            say("in it")
            thread = threading.Thread(target=say, args=["in a thread of it"])
            thread.start()
            thread.join()
            subprocess.run(["echo", "by a child"], check=True)
        with within_step("a"), within_step("b"):
            os.write(2, b"whose?\n")
    assert [one["step"] for one in told] == [None, "write#2", "write#2", "write#2", None]


def test_a_flood_is_cut_and_says_so() -> None:
    told: Told = []
    with captured(told.append):
        for number in range(MAX_LINES + 500):
            say(number)
        os.write(1, b"and more\n" * 100)
    kept = texts(told, "stdout")
    assert (len(kept), kept[0], kept[-1]) == (MAX_LINES, "0", str(MAX_LINES - 1))
    assert texts(told, "log") == ["… [cut]: what follows is not kept", "… [cut]: 600 lines"]


def test_a_line_without_end_takes_no_memory() -> None:
    told: Told = []
    with captured(told.append):
        for _ in range(1000):
            sys.stdout.write("x" * 10_000)
            os.write(2, b"y" * 10_000)
        say()
    assert set(texts(told)) == {"x" * MAX_LINE + "… [cut]", "y" * MAX_LINE + "… [cut]"}


def test_what_is_no_text_is_spelt_out() -> None:
    told: Told = []
    with captured(told.append):
        os.write(1, b"\xff\x00a\n")
        os.write(1, "ü".encode()[:1])
        os.write(1, "ü".encode()[1:] + b"\n")
        say("\ud800 half")
        say("10 %\r50 %\r100 %")
    assert texts(told) == ["\\xff\N{REPLACEMENT CHARACTER}a", "ü", "\ud800 half", "100 %"]


def test_a_forked_process_tells_through_its_parent() -> None:
    told: Told = []
    with captured(told.append):
        pid = os.fork()
        if pid == 0:
            say("in a copy")
            logging.getLogger("copied").error("as well")
            os._exit(0)
        os.waitpid(pid, 0)
    assert sorted(texts(told)) == ["ERROR copied: as well", "in a copy"]


def test_records_are_told_once_with_their_tracebacks() -> None:
    root, told = logging.getLogger(), Told()
    before = list(root.handlers)
    root.handlers[:] = [logging.StreamHandler(sys.stderr)]
    try:
        with captured(told.append):
            try:
                int("x")
            except ValueError:
                logging.getLogger("a").exception("it failed: %s", "why")
            logging.getLogger("a").info("%d", "no number")
        assert len(root.handlers) == 1
    finally:
        root.handlers[:] = before
    first, second = told
    assert first["line"].startswith("it failed: why\nTraceback")
    assert "ValueError: invalid literal" in first["line"]
    assert (first["level"], second["level"]) == ("error", "info")
    assert second["line"].startswith("'%d' (TypeError: ")


def test_afterwards_all_is_as_before() -> None:
    from crewserve.crew.workspace import count_open_files

    streams, level = (sys.stdout, sys.stderr), logging.getLogger().level
    descriptors = count_open_files()
    with captured(Told().append):
        stray = subprocess.Popen(["sleep", "60"])  # holds the pipes
        say("x")
    stray.kill()
    stray.wait()
    assert (sys.stdout, sys.stderr) == streams
    assert logging.getLogger().level == level
    assert count_open_files() == descriptors
