"""The environment of CrewAI processes: quiet, offline, and apart for each execution."""

import os
import re
import tempfile
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Final
from urllib.parse import unquote, urlsplit

from crewserve.domain.redaction import redact, secrets_in

QUIET: Final = {
    "CREWAI_DISABLE_TELEMETRY": "true",
    "CREWAI_TRACING_ENABLED": "false",
    "CREWAI_DISABLE_VERSION_CHECK": "true",
    "CREWAI_TESTING": "true",  # keeps CrewAI's tracing from prompting and writing into the folder
}
"""Nothing calls home, asks at the terminal, or takes over signals."""

_PRIVATE: Final = re.compile(
    r"(?:CREWSERVE|API)_.*|(?:DATABASE|POSTGRES(?:QL)?|REDIS|AMQP|RABBITMQ|BROKER|CELERY_BROKER)_URL"
    r"|PGPASSWORD|PGPASSFILE|CELERY_RESULT_BACKEND|(?:POSTGRES|REDIS|RABBITMQ).*_PASS(?:WORD)?"
)
"""Settings of the server, and what usually leads to the databases and brokers beside it."""


def template_environment(
    server: Mapping[str, str],
    *,
    storage: str,
    extra: Mapping[str, str],
    private: Collection[str] = (),
    shared: Collection[str] = (),
) -> dict[str, str]:
    """What a template process and so all its children start with.

    Whatever is called like a setting of the server, or tells one of the texts *private*, is there
    but empty, so that no `.env` that a flow reads brings it back. *shared* names exceptions.
    """
    inherited = {
        name: "" if name not in shared and _is_private(name, value, private) else value
        for name, value in server.items()
    }
    ours = {**QUIET, "CREWAI_STORAGE_DIR": storage, "PYTHONPATH": _python_path(), **extra}
    return {**inherited, **ours}


def _is_private(name: str, value: str, private: Collection[str]) -> bool:
    tells = value in private or any(f":{secret}@" in value for secret in private)
    return bool(_PRIVATE.fullmatch(name)) or tells


def private_parts(urls: Collection[str]) -> set[str]:
    """What of these URLs no other variable may tell: they themselves and their passwords."""
    passwords = {password for url in urls if (password := urlsplit(url).password)}
    return {*urls, *passwords, *map(unquote, passwords)}


def for_our_processes() -> dict[str, str]:
    """The environment of a process that runs a module of this package."""
    return {**os.environ, "PYTHONPATH": _python_path()}


def _python_path() -> str:
    """Where this package is, for processes that do not inherit our ``sys.path``."""
    root = str(Path(__file__).parents[2])
    return os.pathsep.join(filter(None, (root, os.environ.get("PYTHONPATH"))))


def set_for_execution(values: Mapping[str, str]) -> dict[str, str]:
    """Add *values* to this process's environment; returns what it was before."""
    before = dict(os.environ)
    os.environ.update(values)
    tempfile.tempdir = None  # it is where the environment says
    return before


def restore(before: Mapping[str, str]) -> None:
    """Undo whatever an execution did to the environment."""
    now = dict(os.environ)
    for name in now.keys() - before.keys():
        del os.environ[name]
    os.environ.update({name: was for name, was in before.items() if now.get(name) != was})


def certificate_file() -> str | None:
    """The file of trusted certificates that the deployer names, if any."""
    return os.environ.get("SSL_CERT_FILE")


def storage_folder() -> str | None:
    """Where CrewAI keeps what outlives an execution."""
    return os.environ.get("CREWAI_STORAGE_DIR")


def redacted(text: str) -> str:
    """*text* without the secrets of this environment."""
    return redact(text, secrets())


def secrets() -> list[str]:
    """Values of this environment that must not appear in a message."""
    return secrets_in(os.environ)
