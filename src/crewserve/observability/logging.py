"""Where log lines go and how they look.

Everybody logs through the standard library. What a line belongs to, a request or an execution, is
bound by whoever begins it, through `structlog.contextvars`.
"""

import logging
import sys
from collections.abc import Collection
from enum import StrEnum
from typing import Final

from structlog.contextvars import merge_contextvars
from structlog.dev import ConsoleRenderer, plain_traceback
from structlog.processors import (
    EventRenamer,
    ExceptionRenderer,
    JSONRenderer,
    TimeStamper,
    format_exc_info,
)
from structlog.stdlib import ExtraAdder, ProcessorFormatter, add_log_level, add_logger_name
from structlog.tracebacks import ExceptionDictTransformer
from structlog.types import EventDict, Processor, WrappedLogger

from crewserve.domain.redaction import redact, redact_all


class LogFormat(StrEnum):
    """How a line looks."""

    CONSOLE = "console"
    """For people: one line, a traceback below it, coloured at a terminal."""
    JSON = "json"
    """For collectors: one JSON object a line, a traceback as data in it."""


FIELDS: Final = ("execution_id", "flow", "request_id", "method", "route", "status", "duration_ms")
"""What a line may say besides its message. Libraries add much else to their records."""

_CHATTY: Final = ("alembic", "amqp", "asyncio", "kombu", "uvicorn.access")


def configure_logging(form: LogFormat, secrets: Collection[str] = ()) -> None:
    """Log to stderr, never any of *secrets*, unless the embedding program configured logging."""
    if logging.getLogger().handlers:
        return
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(formatter(form, secrets, colors=sys.stderr.isatty()))
    logging.basicConfig(level=logging.INFO, handlers=[handler])
    for chatty in _CHATTY:
        logging.getLogger(chatty).setLevel(logging.WARNING)
    # Celery shows a traceback for each message that goes back, and for each that it cannot
    # acknowledge when the broker is away; neither is an error.
    logging.getLogger("celery").setLevel(logging.ERROR)
    logging.getLogger("celery.worker.request").setLevel(logging.CRITICAL + 1)


def formatter(
    form: LogFormat, secrets: Collection[str], *, colors: bool = False
) -> ProcessorFormatter:
    """For any handler of the standard library's."""
    redacting = _Redacting(secrets)
    ends: dict[LogFormat, list[Processor]] = {
        LogFormat.CONSOLE: [
            format_exc_info,
            redacting,
            ConsoleRenderer(
                colors=colors, pad_event_to=0, exception_formatter=plain_traceback, sort_keys=False
            ),
        ],
        LogFormat.JSON: [
            # Local variables may be anything that people have sent.
            ExceptionRenderer(ExceptionDictTransformer(show_locals=False)),
            redacting,
            EventRenamer("message"),
            JSONRenderer(),
        ],
    }
    return ProcessorFormatter(
        foreign_pre_chain=[
            TimeStamper(fmt="iso", utc=True),
            add_log_level,
            add_logger_name,
            merge_contextvars,
            ExtraAdder(allow=FIELDS),
        ],
        processors=[ProcessorFormatter.remove_processors_meta, *ends[form]],
    )


class _Redacting:
    def __init__(self, secrets: Collection[str]) -> None:
        self._secrets = secrets

    def __call__(self, _: WrappedLogger, __: str, line: EventDict) -> EventDict:
        line["event"] = redact(line["event"], self._secrets)
        if "exception" in line:
            line["exception"] = redact_all(line["exception"], self._secrets)
        return line
