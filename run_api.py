"""Start the API server: `python run_api.py [--host H] [--port P] [--workers N] [--reload]`."""

import argparse
import sys
from pathlib import Path

SRC = str(Path(__file__).parent / "src")
sys.path.insert(0, SRC)

from crewserve.cli.errors import CannotStart  # noqa: E402  # it is found through the line above
from crewserve.cli.server import (  # noqa: E402
    add_server_arguments,
    fail,
    read_settings,
    serve,
)


def main() -> int:
    """Returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    add_server_arguments(parser)
    arguments = parser.parse_args()
    try:
        serve("api.app:app", read_settings(arguments), reload_dirs=[SRC], reload=arguments.reload)
    except CannotStart as error:
        return fail(error)
    return 0


if __name__ == "__main__":
    sys.exit(main())
