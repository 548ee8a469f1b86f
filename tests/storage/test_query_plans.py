"""Hot queries must not read more rows than they return."""

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import ClauseElement, Engine, event, text
from sqlalchemy.dialects import sqlite

from crewserve.domain.ids import FlowName, WorkerName
from crewserve.domain.status import Status
from crewserve.ports import ExecutionQuery, Held
from crewserve.storage.schema import migrate
from crewserve.storage.sql_reader import page_statement
from crewserve.storage.sql_store import _CLAIM, _abandoned, _renew
from crewserve.storage.sqlite import open_sqlite_for_writing
from crewserve.testing.builders import NOW, a_new_id

POEM = FlowName("poem_flow")
ANN = WorkerName("ann:1:0:00")


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    engine = open_sqlite_for_writing(tmp_path / "test.db")
    migrate(engine)
    yield engine
    engine.dispose()


def plan(engine: Engine, statement: ClauseElement) -> str:
    compiled = statement.compile(
        dialect=sqlite.dialect(), compile_kwargs={"literal_binds": True, "render_postcompile": True}
    )
    with engine.connect() as connection:
        rows = connection.execute(text("explain query plan " + str(compiled).replace(":", "\\:")))
        return " | ".join(row.detail for row in rows)


@pytest.mark.parametrize("flow", [None, POEM])
@pytest.mark.parametrize("status", [None, Status.FAILED])
@pytest.mark.parametrize("before", [None, a_new_id()])
def test_a_page_reads_an_index_in_order(
    engine: Engine, flow: Any, status: Any, before: Any
) -> None:
    query = ExecutionQuery(flow=flow, status=status, before=before)
    found = plan(engine, page_statement(query))
    assert "USING INDEX" in found
    assert "TEMP B-TREE" not in found


def test_claiming_reads_only_what_can_be_claimed(engine: Engine) -> None:
    sent: list[tuple[str, Any]] = []
    event.listen(engine, "before_cursor_execute", lambda *call: sent.append((call[2], call[3])))
    expiry = NOW + timedelta(seconds=30)
    values = {"flows": [POEM], "most": 4, "owner": ANN, "expiry": expiry, "now": NOW}
    with engine.connect() as connection:
        connection.execute(_CLAIM, values).all()
        statement, parameters = sent[-1]
        rows = connection.exec_driver_sql(f"explain query plan {statement}", parameters)
        found = " | ".join(row.detail for row in rows)
    assert "ix_executions_claimable" in found
    assert "TEMP B-TREE FOR ORDER BY" not in found


def test_reaping_reads_only_leases(engine: Engine) -> None:
    for lost in ([], [ANN]):
        assert "ix_executions_lease" in plan(engine, _abandoned(lost, 10, NOW))


def test_renewing_reads_only_what_is_held(engine: Engine) -> None:
    found = plan(engine, _renew(ANN, [Held(a_new_id(), 1)], NOW, NOW))
    assert "SCAN executions" not in found
