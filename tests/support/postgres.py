"""PostgreSQL for tests: one that answers already, or a private one that tests may stop."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Final, NoReturn
from uuid import uuid4

import psycopg
import pytest

from deploy.postgres import PostgresServer

VARIABLE: Final = "CREWSERVE_TEST_POSTGRES"
"""The URL of a server whose user may create databases."""

_USUAL: Final = (
    "postgresql://postgres@127.0.0.1:5432/postgres",
    "postgresql:///postgres?host=/var/run/postgresql",
)


@contextmanager
def private_server() -> Iterator[PostgresServer]:
    """One that answers; removed afterwards. Skips the test where there are no binaries."""
    server = PostgresServer(survives_power_cuts=False)
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


def give_up(reason: str) -> NoReturn:
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
