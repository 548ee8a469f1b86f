"""`crewserve`: the command line."""

import argparse
import sys
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

from crewserve.cli import discovery
from crewserve.cli.errors import CannotStart
from crewserve.cli.keys import add_key_arguments
from crewserve.cli.server import add_server_arguments, fail, read_settings, serve
from crewserve.cli.worker import add_worker_arguments, work


def main(arguments: Sequence[str] | None = None) -> int:
    """Returns the exit code."""
    parsed = _parser().parse_args(arguments)
    try:
        parsed.run(parsed)
    except CannotStart as error:
        return fail(error)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("crewserve", description="Serve CrewAI flows over HTTP")
    parser.add_argument("--version", action="version", version=version("crewserve"))
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")
    serving = commands.add_parser("serve", help="serve flows without writing any code")
    add_server_arguments(serving)
    working = commands.add_parser("worker", help="run what APIs on any host have accepted")
    add_worker_arguments(working)
    add_key_arguments(commands.add_parser("keys", help="make, list and end API keys"))
    for command, run in ((serving, _serve), (working, work)):
        command.set_defaults(run=run)
        command.add_argument(
            "flows",
            nargs="*",
            metavar="FLOW",
            help="module:FlowClass or path/to/main.py:FlowClass; none: those of CREWSERVE_FLOWS, "
            "or of the CrewAI project in this folder",
        )
    return parser


def _serve(arguments: argparse.Namespace) -> None:
    settings = read_settings(arguments)
    targets = arguments.flows or settings.flows
    found = discovery.find(targets, Path.cwd())
    sys.path[:0] = [path for path in found.paths if path not in sys.path]
    chosen = settings.model_copy(update={"flows": list(found.refs)})
    serve("crewserve.cli.app:app", chosen, reload_dirs=found.paths, reload=arguments.reload)


def entry() -> None:
    """The installed command."""
    sys.exit(main())
