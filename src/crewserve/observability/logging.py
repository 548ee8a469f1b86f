"""Where log lines go and how they look."""

import logging
import sys


def configure_logging() -> None:
    """Log to stderr, with UTC-free local times, unless the embedding program configured it."""
    if logging.getLogger().handlers:
        return
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)-7s %(name)s: %(message)s"))
    logging.basicConfig(level=logging.INFO, handlers=[handler])
    for quiet in ("alembic", "amqp", "asyncio", "kombu", "uvicorn.access"):
        logging.getLogger(quiet).setLevel(logging.WARNING)
    # Celery shows a traceback for each message that goes back, and for each that it cannot
    # acknowledge when the broker is away; neither is an error.
    logging.getLogger("celery").setLevel(logging.ERROR)
    logging.getLogger("celery.worker.request").setLevel(logging.CRITICAL + 1)
