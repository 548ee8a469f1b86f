"""Opening a PostgreSQL database."""

from collections.abc import Mapping
from typing import Any, Final

from psycopg import Connection
from psycopg.abc import Buffer
from psycopg.types.string import StrDumperUnknown
from sqlalchemy import URL, Engine, create_engine, event, make_url
from sqlalchemy.exc import ArgumentError

from crewserve.storage.sql_reader import READERS
from crewserve.storage.types import encode_json

_SCHEMES: Final = frozenset({"postgres", "postgresql", "postgresql+psycopg"})
_SESSION: Final = {
    "timezone": "UTC",
    "statement_timeout": "30s",  # no statement of ours takes a second
    "lock_timeout": "10s",
    "idle_in_transaction_session_timeout": "5s",  # a frozen writer holds locks for no longer
}
_CONNECTION: Final = {
    "application_name": "crewserve",
    "client_encoding": "utf8",
    "connect_timeout": "5",
    "keepalives_idle": "10",  # with the next two: a silent server is given up after 25 s
    "keepalives_interval": "5",
    "keepalives_count": "3",
    "tcp_user_timeout": "25000",
}


class WrongDatabaseUrl(ValueError):
    """Its text never repeats the URL, which may contain a password."""


def parse_url(text: str) -> URL:
    """The form that SQLAlchemy wants. Raises: WrongDatabaseUrl."""
    try:
        url = make_url(text)
    except (ArgumentError, ValueError):
        url = None
    if url is None or url.drivername not in _SCHEMES or "@" in (url.host or ""):
        raise WrongDatabaseUrl(
            "its URL must look like postgresql://user:password@host:5432/database, with special"
            " characters of the password written as %40"
        )
    return url.set(drivername="postgresql+psycopg")


def connect_arguments(url: URL, session: Mapping[str, str] = _SESSION) -> dict[str, Any]:
    """What psycopg connects with. Whatever *url* itself says wins."""
    given = {
        name: value if isinstance(value, str) else ",".join(value)
        for name, value in url.query.items()
    }
    settings = " ".join(f"-c {name}={value}" for name, value in session.items())
    return {
        **_CONNECTION,
        **url.translate_connect_args(username="user", database="dbname"),
        **given,
        "options": f"{settings} {given.get('options', '')}".rstrip(),
    }


def open_postgres(url: URL) -> Engine:
    """An engine to read: each statement is a transaction, and one round trip."""
    session = {**_SESSION, "default_transaction_read_only": "on"}
    return _open(connect_arguments(url, session), isolation_level="AUTOCOMMIT", pool_size=READERS)


def open_postgres_for_writing(url: URL) -> Engine:
    """An engine for one writer. Its connection is tried before each transaction.

    So a server that was restarted meanwhile costs no write. A standby is refused: after a failover
    the primary must be found.
    """
    arguments = {"target_session_attrs": "read-write", **connect_arguments(url)}
    return _open(arguments, pool_pre_ping=True, pool_size=1)


def _open(arguments: Mapping[str, Any], **options: Any) -> Engine:
    engine = create_engine(
        "postgresql+psycopg://",
        connect_args=dict(arguments),
        paramstyle="format",  # positional: see `Prepared`
        use_native_hstore=False,  # else it asks the server for a type that we do not use
        json_serializer=encode_json,
        hide_parameters=True,
        max_overflow=0,
        **options,
    )
    event.listen(engine, "connect", _configure)
    return engine


def _configure(connection: Connection, _: Any) -> None:
    connection.adapters.register_dumper(str, _TextDumper)


class _TextDumper(StrDumperUnknown):
    """Stores any text, though PostgreSQL knows neither NUL nor half characters.

    Flows put them into the messages of their errors, and an end that cannot be stored is none.
    """

    def dump(self, obj: str) -> Buffer | None:
        return obj.replace("\0", "\N{REPLACEMENT CHARACTER}").encode("utf-8", "replace")
