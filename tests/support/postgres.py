"""PostgreSQL for tests: one that answers already, or a private one that tests may stop."""

import os
import pwd
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Final
from uuid import uuid4

import psycopg
import pytest

VARIABLE: Final = "CREWSERVE_TEST_POSTGRES"
"""The URL of a server whose user may create databases."""

_USUAL: Final = (
    "postgresql://postgres@127.0.0.1:5432/postgres",
    "postgresql:///postgres?host=/var/run/postgresql",
)
_QUICK: Final = {"fsync": "off", "max_connections": "50", "unix_socket_directories": "''"}
"""Tests kill the server, not the machine, so nothing is lost without fsync."""


def _free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


@dataclass(slots=True, eq=False)
class PostgresServer:
    """A server of its own in a temporary folder, that can be stopped and started."""

    folder: Path = field(default_factory=lambda: Path(tempfile.mkdtemp(prefix="crewserve-pg-")))
    port: int = field(default_factory=_free_port)

    @property
    def url(self) -> str:
        return f"postgresql://postgres@127.0.0.1:{self.port}/postgres"

    def create(self) -> "PostgresServer":
        """Make its files. Raises: FileNotFoundError when PostgreSQL is not installed."""
        if os.geteuid() == 0:
            os.chown(self.folder, _user().pw_uid, _user().pw_gid)
        self._run("initdb", "--username=postgres", "--auth=trust", "--no-sync", "-E", "UTF8")
        return self

    def start(self) -> None:
        """Wait until it answers."""
        settings = {**_QUICK, "port": str(self.port), "listen_addresses": "127.0.0.1"}
        options = " ".join(f"-c {name}={value}" for name, value in settings.items())
        log = str(self.folder / "log")
        self._run("pg_ctl", "--wait", "--silent", f"--log={log}", f"--options={options}", "start")

    def stop_immediate(self) -> None:
        """As a crash does: every connection breaks, no transaction is finished."""
        self._run("pg_ctl", "--wait", "--silent", "--mode=immediate", "stop")

    def remove(self) -> None:
        """Stop it if it runs, and delete its files."""
        if (self.folder / "data/postmaster.pid").exists():
            self.stop_immediate()
        shutil.rmtree(self.folder, ignore_errors=True)

    def _run(self, program: str, *arguments: str) -> None:
        command = [str(_binaries() / program), f"--pgdata={self.folder / 'data'}", *arguments]
        if os.geteuid() == 0:
            ids = [f"--reuid={_user().pw_uid}", f"--regid={_user().pw_gid}", "--clear-groups"]
            command = ["setpriv", *ids, *command]
        with (self.folder / "errors").open("ab") as errors:
            subprocess.run(
                command,
                cwd=self.folder,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=errors,
                check=True,
            )


def _binaries() -> Path:
    """The newest version's."""
    found = sorted(
        Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: int(path.parent.name)
    )
    if found:
        return found[-1]
    if on_path := shutil.which("initdb"):
        return Path(on_path).parent
    raise FileNotFoundError("PostgreSQL is not installed")


def _user() -> pwd.struct_passwd:
    """Whom root becomes, because PostgreSQL refuses to run as root."""
    users = {entry.pw_name: entry for entry in pwd.getpwall()}
    return users.get("postgres") or users["nobody"]


@contextmanager
def private_server() -> Iterator[PostgresServer]:
    """One that answers; removed afterwards. Skips the test where there are no binaries."""
    server = PostgresServer()
    try:
        try:
            server.create()
        except FileNotFoundError as error:
            give_up(str(error))
        server.start()
        yield server
    finally:
        server.remove()


@cache
def running_server() -> str | None:
    """The URL of a server that answers and lets us create databases."""
    for url in filter(None, (os.environ.get(VARIABLE), *_USUAL)):
        try:
            with psycopg.connect(url, connect_timeout=2, autocommit=True) as connection:
                question = "select rolcreatedb from pg_roles where rolname = current_user"
                if connection.execute(question).fetchone() == (True,):
                    return url
        except psycopg.OperationalError:
            continue
    return None


def give_up(reason: str) -> None:
    """Skip the test; but where CI promises PostgreSQL, fail."""
    if os.environ.get("CI") == "true":
        pytest.fail(reason)
    pytest.skip(f"{reason}; {VARIABLE} may name a server")


def new_name() -> str:
    return f"crewserve_test_{uuid4().hex}"


def url_of(database: str, *, on: str) -> str:
    """The URL of another database of the same server."""
    head, _, query = on.partition("?")
    return f"{head.rpartition('/')[0]}/{database}" + (f"?{query}" if query else "")


def create_database(
    name: str, *, on: str, template: str = "template0", encoding: str = "UTF8"
) -> str:
    """Returns its URL."""
    told = f"encoding '{encoding}' locale 'C'" if encoding != "UTF8" else ""
    _execute(on, f'create database "{name}" template "{template}" {told}')
    return url_of(name, on=on)


def drop_database(name: str, *, on: str) -> None:
    """Whoever is connected to it is thrown out."""
    _execute(on, f'drop database if exists "{name}" with (force)')


def _execute(url: str, statement: str) -> None:
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(statement.encode())
