import json
import logging
from collections.abc import Iterator
from io import StringIO
from typing import Any

import pytest
from structlog.contextvars import bound_contextvars

from crewserve.observability.logging import LogFormat, formatter

SECRET = "correct-horse-battery"


class Lines:
    """What a logger wrote in one format."""

    def __init__(self, form: LogFormat) -> None:
        self._stream = StringIO()
        self._handler = logging.StreamHandler(self._stream)
        self._handler.setFormatter(formatter(form, [SECRET]))
        self.log = logging.getLogger(f"tests.{form}")
        self.log.handlers, self.log.propagate = [self._handler], False
        self.log.setLevel(logging.INFO)

    @property
    def text(self) -> str:
        return self._stream.getvalue()

    @property
    def only(self) -> dict[str, Any]:
        """The one JSON line."""
        [line] = self.text.splitlines()
        found: dict[str, Any] = json.loads(line)
        return found

    def fail(self) -> None:
        """Log an error that was caught here."""
        password = SECRET
        try:
            refuse(password)
        except RuntimeError:
            self.log.exception("It failed")


def refuse(password: str) -> None:
    raise RuntimeError(f"no entry with {password}")


@pytest.fixture
def as_json() -> Iterator[Lines]:
    lines = Lines(LogFormat.JSON)
    yield lines
    lines.log.handlers = []


@pytest.fixture
def as_console() -> Iterator[Lines]:
    lines = Lines(LogFormat.CONSOLE)
    yield lines
    lines.log.handlers = []


def test_a_json_line_says_when_who_and_what(as_json: Lines) -> None:
    as_json.log.warning("Seen %d of them", 3)
    line = as_json.only
    assert line.pop("timestamp").endswith("Z")
    assert line == {"level": "warning", "logger": "tests.json", "message": "Seen 3 of them"}


@pytest.mark.parametrize("form", LogFormat)
def test_a_line_says_what_it_belongs_to(form: LogFormat) -> None:
    lines = Lines(form)
    with bound_contextvars(request_id="r-1", execution_id="e-1"):
        lines.log.info("Begun")
    lines.log.info("Idle")
    first, second = lines.text.splitlines()
    assert "r-1" in first
    assert "e-1" in first
    assert "_id" not in second


def test_fields_that_nobody_knows_are_left_out(as_json: Lines) -> None:
    as_json.log.info("Sent", extra={"flow": "poem_flow", "color_message": "\x1b[1mSent"})
    assert as_json.only["flow"] == "poem_flow"
    assert "color_message" not in as_json.only


@pytest.mark.parametrize("form", LogFormat)
def test_secrets_are_in_neither_messages_nor_tracebacks(form: LogFormat) -> None:
    lines = Lines(form)
    lines.log.info("The key is %s", SECRET)
    lines.log.info("At postgresql://me:hunter22@there/mine")
    lines.fail()
    assert "no entry with [redacted]" in lines.text
    assert "postgresql://me:[redacted]@there/mine" in lines.text
    assert SECRET not in lines.text


def test_a_traceback_is_data_in_json(as_json: Lines) -> None:
    as_json.fail()
    [raised] = as_json.only["exception"]
    assert raised["exc_type"] == "RuntimeError"
    assert [frame["name"] for frame in raised["frames"]] == ["fail", "refuse"]
    assert not any("locals" in frame for frame in raised["frames"])


def test_a_traceback_is_below_its_line_on_a_console(as_console: Lines) -> None:
    as_console.fail()
    first, second, *_, last = as_console.text.splitlines()
    assert "It failed" in first
    assert second == "Traceback (most recent call last):"
    assert last == "RuntimeError: no entry with [redacted]"


def test_a_console_without_a_terminal_has_no_colours(as_console: Lines) -> None:
    as_console.log.info("Plain")
    assert "\x1b" not in as_console.text
