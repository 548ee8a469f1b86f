"""`crewserve worker`: runs executions that APIs on any host have accepted."""

import argparse
import sys
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path

from crewserve.bootstrap import run_worker, set_up_logging
from crewserve.cli import discovery
from crewserve.cli.errors import CannotStart
from crewserve.cli.server import allow_many_files, prepare, read_settings
from crewserve.domain.flow import FlowSpec
from crewserve.domain.ids import FlowName, WorkerName
from crewserve.http.app import FlowsApi
from crewserve.http.flow_router import flow_router
from crewserve.settings import Settings

APP_HINT = "--app package.module:app names what create_app() returned"


def add_worker_arguments(parser: argparse.ArgumentParser) -> None:
    """`--app`; the flows themselves are added where all commands have them."""
    parser.add_argument("--app", metavar="MODULE:APP", help="serve the flows of this app instead")


def work(arguments: argparse.Namespace) -> None:
    """Until a signal. Raises: CannotStart."""
    settings = read_settings(arguments)
    set_up_logging(settings)
    if settings.database_url is None:
        raise CannotStart(
            "A worker needs CREWSERVE_DATABASE_URL",
            "with SQLite the API runs its executions itself: crewserve serve",
        )
    flows = _flows_of(arguments.app) if arguments.app else _named(arguments.flows, settings)
    prepare(settings)
    allow_many_files()
    run_worker(settings, flows, lambda name: _greet(name, flows, settings))


def _greet(name: WorkerName, flows: Mapping[FlowName, FlowSpec], settings: Settings) -> None:
    print(
        f"crewserve worker: {name}  ({settings.slots} slots for {', '.join(sorted(flows))})",
        flush=True,
    )


def _named(targets: list[str], settings: Settings) -> Mapping[FlowName, FlowSpec]:
    found = discovery.find(targets or settings.flows, Path.cwd())
    sys.path[:0] = [path for path in found.paths if path not in sys.path]
    specs = [flow_router(ref).flow for ref in found.refs]
    return {spec.name: spec for spec in specs}


def _flows_of(target: str) -> Mapping[FlowName, FlowSpec]:
    """Of an app as uvicorn would be given it, from this folder or its ``src``."""
    folders = [str(path) for path in (Path.cwd() / "src", Path.cwd()) if path.is_dir()]
    sys.path[:0] = [path for path in folders if path not in sys.path]
    module, _, name = target.partition(":")
    try:
        app = getattr(import_module(module), name or "app")
    except (ImportError, AttributeError) as error:
        raise CannotStart(f"The app {target} cannot be imported: {error}", APP_HINT) from error
    if not isinstance(app, FlowsApi):
        raise CannotStart(f"{target} is no app of crewserve", APP_HINT)
    if not app.flows:
        raise CannotStart(f"The app {target} serves no flow that a worker could run")
    return app.flows
