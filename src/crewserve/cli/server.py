"""Running the API under uvicorn."""

import argparse
import errno
import gc
import resource
import socket
import sys
from collections.abc import Sequence
from importlib.util import find_spec
from typing import Any, Final

import uvicorn
from pydantic import ValidationError
from uvicorn.supervisors import ChangeReload

from crewserve.bootstrap import first_key, prepare_storage, set_up_logging
from crewserve.cli.errors import CannotStart
from crewserve.cli.workers import WorkerConfig, run_workers
from crewserve.crew.processes import hide
from crewserve.settings import Settings
from crewserve.storage.database import DatabaseUnusable

BACKLOG: Final = 2048
GRACE_SECONDS: Final = 5
"""What open requests get to come to their end when the server stops."""


def add_server_arguments(parser: argparse.ArgumentParser) -> None:
    """`--host`, `--port`, `--workers` and `--reload`."""
    parser.add_argument("--host", help="address to listen on (API_HOST, 127.0.0.1)")
    parser.add_argument("--port", type=_port, help="TCP port, 0 for any (API_PORT, 8000)")
    parser.add_argument(
        "--workers", type=int, help="processes that answer requests (CREWSERVE_API_WORKERS, 1)"
    )
    parser.add_argument("--reload", action="store_true", help="restart when a source file changes")


def _port(text: str) -> int:
    port = int(text)
    if not 0 <= port <= 65535:
        raise argparse.ArgumentTypeError("a port is a number from 0 to 65535")
    return port


def read_settings(arguments: argparse.Namespace) -> Settings:
    """The environment's settings, with what the command line says. Raises: CannotStart."""
    said = vars(arguments)
    given = {
        "api_host": said.get("host"),
        "api_port": said.get("port"),
        "api_workers": said.get("workers"),
    }
    try:
        settings = Settings(**{name: value for name, value in given.items() if value is not None})
    except ValidationError as error:
        wrong = [f"{found['loc'][0]}: {found['msg']}" for found in error.errors()]
        raise CannotStart("A setting is wrong: " + "; ".join(wrong), "see .env.example") from error
    if settings.broker_url and find_spec("celery") is None:
        raise CannotStart("A broker needs Celery", "pip install 'crewserve[celery]'")
    if settings.oidc_issuer and not (find_spec("jwt") and find_spec("httpx")):
        raise CannotStart("Access tokens need PyJWT", "pip install 'crewserve[oidc]'")
    return settings


def serve(app: str, settings: Settings, *, reload_dirs: Sequence[str], reload: bool) -> None:
    """Run *app*, given as ``module:attribute``, until a signal. Raises: CannotStart."""
    if reload and settings.api_workers > 1:
        raise CannotStart("--reload needs a single process", "add --workers 1, or leave it out")
    set_up_logging(settings)
    if settings.sandbox:
        hide()
    listener = _listen(settings.api_host, settings.api_port)
    prepare(settings)
    if reload:
        settings = settings.model_copy(update={"drain_seconds": 0.0})  # changes take effect at once
    settings.pass_on()
    allow_many_files()
    options = _options(app, settings)
    print(f"crewserve: {_url(listener)}  (documentation: {_url(listener)}/docs)", flush=True)
    _tell_first_key(settings)
    if reload:
        _reload(uvicorn.Config(**options, reload=True, reload_dirs=list(reload_dirs)), listener)
    elif settings.api_workers > 1:
        run_workers(WorkerConfig(**options), listener)
    else:
        _run(uvicorn.Config(**options), listener)


def _tell_first_key(settings: Settings) -> None:
    if made := first_key(settings):
        print(
            "crewserve: requests from elsewhere need an API key. This one may do everything; it is "
            f"shown only now:\n\n    {made.token}\n",
            flush=True,
        )


def _options(app: str, settings: Settings) -> dict[str, Any]:
    return {
        "app": app,
        "workers": settings.api_workers,
        "log_config": None,
        "access_log": False,
        "server_header": False,
        "proxy_headers": True,
        "forwarded_allow_ips": settings.trusted_proxies,
        "timeout_graceful_shutdown": GRACE_SECONDS,
    }


def _reload(config: uvicorn.Config, listener: socket.socket) -> None:
    listener.set_inheritable(True)
    ChangeReload(config, target=uvicorn.Server(config).run, sockets=[listener]).run()


def _run(config: uvicorn.Config, listener: socket.socket) -> None:
    _load_without_collecting(config)
    server = uvicorn.Server(config)
    server.run(sockets=[listener])
    if not server.started:
        raise CannotStart("The server could not start; its log above says why")


def prepare(settings: Settings) -> None:
    """Make sure that there is storage. Raises: CannotStart."""
    try:
        prepare_storage(settings)
    except DatabaseUnusable as error:
        hint = "CREWSERVE_DATABASE_URL names it" if settings.database_url else None
        raise CannotStart(f"The database cannot be used: {error}", hint) from error
    except Exception as error:  # whatever it is, nothing can start without storage
        folder, reason = settings.data_dir.resolve(), str(error).partition("\n")[0]
        hint = "CREWSERVE_DATA_DIR names a folder that this user may write"
        raise CannotStart(f"The data folder {folder} cannot be used: {reason}", hint) from error


def _load_without_collecting(config: uvicorn.Config) -> None:
    """Import the app. Collecting garbage among modules that stay finds none and costs a tenth."""
    gc.disable()
    config.load()
    gc.freeze()
    gc.enable()


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
        listener.listen(BACKLOG)
    except OSError as error:
        listener.close()
        raise _cannot_listen(host, port, error) from error
    return listener


def allow_many_files() -> None:
    """Each client and each running execution takes a descriptor; 1024 are soon used up."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def _cannot_listen(host: str, port: int, error: OSError) -> CannotStart:
    if error.errno == errno.EADDRINUSE:
        return CannotStart(f"Port {port} on {host} is already in use", f"try --port {port + 1}")
    if error.errno == errno.EACCES:
        return CannotStart(f"Port {port} needs more rights", "try --port 8000")
    return CannotStart(f"Cannot listen on {host}:{port}: {error.strerror}", "see --host")


def _url(listener: socket.socket) -> str:
    host, port = listener.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def fail(error: CannotStart) -> int:
    """Say why; returns the exit code."""
    print(f"error: {error}", file=sys.stderr)
    if error.hint:
        print(f"\nhint: {error.hint}", file=sys.stderr)
    return 1
