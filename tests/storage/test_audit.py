"""The audit log's table refuses changes, whoever asks the database for them."""

import pytest
from sqlalchemy import Engine, text
from sqlalchemy.exc import DBAPIError

from crewserve.storage.audit import SqlAudit
from crewserve.storage.database import Database
from crewserve.storage.writer import Writer
from crewserve.testing.audit import an_audit_entry


@pytest.fixture
def engine(empty_database: Database) -> Engine:
    """Of a database with one entry."""
    empty_database.migrate()
    writer, reader = Writer(empty_database.writing), empty_database.reader()
    writer.start()
    log = SqlAudit(writer, reader, empty_database.writing.dialect)
    log.add_audit_entry(an_audit_entry()).result(10)
    writer.close()
    reader.close()
    return empty_database.writing


def test_no_entry_can_be_changed_or_removed(engine: Engine) -> None:
    for statement in ("update audit_log set actor = 'bob'", "delete from audit_log"):
        with pytest.raises(DBAPIError, match="append-only"), engine.begin() as connection:
            connection.execute(text(statement))
    with engine.connect() as connection:
        assert connection.execute(text("select actor from audit_log")).scalars().all() == ["ann"]
