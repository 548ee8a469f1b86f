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
    for quiet in ("alembic", "uvicorn.access", "asyncio"):
        logging.getLogger(quiet).setLevel(logging.WARNING)
    # It warns, with a traceback, of each message that goes back.
    logging.getLogger("celery").setLevel(logging.ERROR)
