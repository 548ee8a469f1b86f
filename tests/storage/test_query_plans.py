"""Hot queries must not read more rows than they return."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import ClauseElement, Engine, event, select

from crewserve.domain.event_log import ALL, Channel, Wanted
from crewserve.domain.failure import FailureCode
from crewserve.domain.ids import FlowName, Tenant, WorkerName
from crewserve.domain.labels import Label
from crewserve.domain.output import ALL_LINES, Level, Stream, WantedLines
from crewserve.domain.query import ExecutionFilter, ExecutionQuery, Grouping, Order, Place
from crewserve.domain.realm import Realm
from crewserve.domain.status import Status
from crewserve.domain.worker import WorkerQuery
from crewserve.ports import Held
from crewserve.storage import lanes, search, statements, workers
from crewserve.storage.database import Database
from crewserve.storage.event_log import events_statement
from crewserve.storage.lines import place
from crewserve.storage.output import lines_statement
from crewserve.storage.positions import before
from crewserve.storage.realms import belongs_to_realm
from crewserve.storage.retention import boundary_statement, ended_statement
from crewserve.storage.sql_reader import OWNERS, step_page_statement
from crewserve.storage.usage_reports import grouped
from crewserve.testing.builders import NOW, a_new_id, an_execution

POEM = FlowName("poem_flow")
REALM = Realm(tenant=Tenant("acme"))
ANN = WorkerName("ann:1:0:00")
CLAIM = {
    "flows": [POEM],
    "most": 4,
    "owner": ANN,
    "expiry": NOW + timedelta(seconds=30),
    "now": NOW,
}


@pytest.fixture
def engine(empty_database: Database) -> Engine:
    empty_database.migrate()
    return empty_database.writing


FILL = """
insert into executions (id, flow, tenant, driver, status, inputs, created_at, available_at, attempt,
    policy, accepts_changes, fence, failure_code)
select gen_random_uuid(), (array['poem_flow', 'other_flow', 'c', 'd', 'e'])[n %% 5 + 1],
    (array['acme', 'rival'])[n %% 2 + 1], 'worker',
    (array['failed', 'completed', 'cancelled', 'pending'])[n %% 4 + 1], '{}', now(), now(), 1,
    '{}', false, 1, case n %% 4 when 0 then (array['timeout', 'worker_lost'])[n %% 3] end
from generate_series(1, 2000) as n
"""


@pytest.fixture
def filled(engine: Engine) -> Engine:
    """PostgreSQL has no preference among indexes of an empty table."""
    if engine.dialect.name == "postgresql":
        with engine.begin() as connection:
            connection.exec_driver_sql(FILL)
            connection.exec_driver_sql("analyze executions")
    return engine


def plan(engine: Engine, statement: ClauseElement, values: Any = None) -> str:
    """How the database would run it if its tables were large."""
    sent: list[tuple[str, Any]] = []
    event.listen(engine, "before_cursor_execute", lambda *call: sent.append((call[2], call[3])))
    with engine.connect() as connection:
        is_sqlite = engine.dialect.name == "sqlite"
        if not is_sqlite:
            for way in ("seqscan", "bitmapscan", "sort"):  # only if there is no other
                connection.exec_driver_sql(f"set local enable_{way} = off")
        connection.execute(statement, values or {}).all()  # type: ignore[call-overload]
        sql, parameters = sent[-1]
        explain = "explain query plan" if is_sqlite else "explain"
        rows = connection.exec_driver_sql(f"{explain} {sql}", parameters)
        return " | ".join(str(row[-1]) for row in rows)


def sorts(found: str) -> bool:
    return "TEMP B-TREE FOR ORDER BY" in found or "Sort Key" in found


FAILED = frozenset({Status.FAILED})
ENDED = frozenset({Status.FAILED, Status.COMPLETED})
TIMEOUT = frozenset({FailureCode.TIMEOUT})
FAILURES = frozenset({FailureCode.TIMEOUT, FailureCode.WORKER_LOST})
FILTERS = [
    {"statuses": statuses, **more}
    for statuses in (frozenset(), FAILED)
    for more in (
        {},
        {"codes": TIMEOUT},
        {"created_from": NOW, "created_before": NOW},
        {"error_text": "x"},
    )
]


@pytest.mark.parametrize("flow", [None, POEM])
@pytest.mark.parametrize("filters", FILTERS)
@pytest.mark.parametrize("after", [None, Place(0, a_new_id())])
@pytest.mark.parametrize("order", [Order.NEWEST, Order.OLDEST])
def test_a_page_reads_an_index_in_order(
    engine: Engine, flow: Any, filters: Any, after: Any, order: Any
) -> None:
    query = ExecutionQuery(realm=REALM, flow=flow, after=after, order=order, **filters)
    found = plan(engine, search.page(query))
    assert "USING INDEX ix_executions_tenant" in found or "using ix_executions_tenant" in found
    assert not sorts(found)


def test_a_key_for_some_flows_reads_a_page_of_each(filled: Engine) -> None:
    realm = replace(REALM, flows=frozenset({POEM, FlowName("other_flow")}))
    found = plan(filled, search.page(ExecutionQuery(realm=realm)))
    assert "SCAN executions" not in found
    assert "Seq Scan" not in found
    assert found.count("ix_executions_tenant_flow_id") == 2


def test_what_belongs_to_an_execution_is_found_by_its_key(engine: Engine) -> None:
    statement = step_page_statement(a_new_id(), after=7, limit=100)
    found = plan(engine, statement.where(*belongs_to_realm(a_new_id(), REALM)))
    assert "SCAN" not in found
    assert "Seq Scan" not in found


@pytest.mark.parametrize("flow", [None, POEM])
@pytest.mark.parametrize("filters", [{"statuses": ENDED}, {"codes": FAILURES}])
def test_a_page_of_several_kinds_reads_a_page_of_each(
    filled: Engine, flow: Any, filters: Any
) -> None:
    found = plan(filled, search.page(ExecutionQuery(realm=REALM, flow=flow, **filters)))
    assert "SCAN executions" not in found
    assert "Seq Scan" not in found
    column = "failure_code" if "codes" in filters else "status"
    assert found.count(f"{column}=?") == 2 or found.count(f"{column} = ") == 2, found


@pytest.mark.parametrize("flow", [None, POEM])
@pytest.mark.parametrize("filters", FILTERS)
@pytest.mark.parametrize("after", [None, Place(0, a_new_id())])
@pytest.mark.parametrize("order", [Order.NEWEST, Order.OLDEST])
def test_a_page_of_labelled_executions_reads_their_labels_in_order(
    engine: Engine, flow: Any, filters: Any, after: Any, order: Any
) -> None:
    labels = frozenset({Label("tag", "nightly"), Label("metadata.customer", "acme")})
    query = ExecutionQuery(
        realm=REALM, flow=flow, after=after, order=order, labels=labels, **filters
    )
    found = plan(engine, search.page(query))
    if engine.dialect.name == "sqlite":
        assert "SEARCH lead USING COVERING INDEX ix_labels_name_value_execution" in found
        assert found.count("sqlite_autoindex_executions_1 (id=?)") == 2
        assert "SEARCH labels USING PRIMARY KEY (execution=? AND name=? AND value=?)" in found
        assert not sorts(found)
    else:
        assert "ix_labels_name_value_execution" in found
        assert "Seq Scan" not in found


@pytest.mark.parametrize("flow", [None, POEM])
@pytest.mark.parametrize("after", [None, Place(7, a_new_id())])
@pytest.mark.parametrize("order", [Order.COSTLIEST, Order.CHEAPEST])
def test_a_page_by_cost_reads_an_index_in_that_order(
    engine: Engine, flow: Any, after: Any, order: Any
) -> None:
    query = ExecutionQuery(realm=REALM, flow=flow, after=after, order=order, model="a/b")
    found = plan(engine, search.page(query))
    assert f"ix_executions_tenant_{'flow_' if flow else ''}cost_id" in found
    assert "Seq Scan" not in found
    assert not sorts(found)


def test_what_a_model_was_used_for_reads_that_only(engine: Engine) -> None:
    found = plan(engine, grouped(ExecutionFilter(realm=REALM, model="a/b"), [], 9, engine.dialect))
    assert "ix_usage_model_execution" in found or "pk_usage" in found
    assert "SCAN executions" not in found
    assert "Seq Scan" not in found


def test_counting_labelled_executions_reads_those_only(engine: Engine) -> None:
    labels = frozenset({Label("tag", "nightly")})
    found = plan(
        engine, search.count(ExecutionFilter(realm=REALM, labels=labels), [Grouping.STATUS])
    )
    assert "ix_labels_name_value_execution" in found
    assert "SCAN executions" not in found
    assert "Seq Scan" not in found


@pytest.mark.parametrize("by", [[], [Grouping.STATUS], [Grouping.STATUS, Grouping.FLOW]])
def test_counting_reads_an_index_only(engine: Engine, by: Any) -> None:
    found = plan(engine, search.count(ExecutionFilter(realm=REALM), by))
    assert "COVERING INDEX" in found or "Index" in found


def test_a_page_of_steps_reads_their_key_in_order(engine: Engine) -> None:
    found = plan(engine, step_page_statement(a_new_id(), after=7, limit=100))
    assert "sqlite_autoindex_steps_1 (execution=? AND position>?)" in found or "pk_steps" in found
    assert not sorts(found)


@pytest.mark.parametrize("flow", [None, POEM])
def test_a_page_of_workers_reads_their_key_in_order_and_each_lease_once(
    engine: Engine, flow: Any
) -> None:
    query = WorkerQuery(flow=flow, after=ANN)
    found = plan(engine, workers.page_statement(query, engine.dialect))
    assert "sqlite_autoindex_workers_1" in found or "pk_workers" in found
    assert found.count("ix_executions_lease") == 1
    assert "ORDER BY" not in found


@pytest.mark.parametrize("wanted", [ALL, Wanted([Channel.LLM], ["llm_call_completed"])])
def test_a_page_of_events_reads_their_key_in_order(engine: Engine, wanted: Wanted) -> None:
    found = plan(engine, events_statement(a_new_id(), 7, 100, wanted))
    assert "USING PRIMARY KEY (execution=? AND sequence>?)" in found or "pk_events" in found
    assert not sorts(found)


@pytest.mark.parametrize("wanted", [ALL_LINES, WantedLines([Stream.LOG], [Level.ERROR], "write")])
def test_a_page_of_lines_reads_their_key_in_order(engine: Engine, wanted: WantedLines) -> None:
    found = plan(engine, lines_statement(a_new_id(), 7, 100, wanted))
    assert "USING PRIMARY KEY (execution=? AND sequence>?)" in found or "pk_logs" in found
    assert not sorts(found)


@pytest.mark.parametrize("statement", [ended_statement(NOW, 100), boundary_statement(1000)])
def test_what_has_expired_is_found_in_the_order_of_the_key(engine: Engine, statement: Any) -> None:
    found = plan(engine, statement)
    assert "sqlite_autoindex_executions_1" in found or "pk_executions" in found
    assert not sorts(found)


def test_claiming_reads_only_what_can_be_claimed(engine: Engine) -> None:
    found = plan(engine, statements.CLAIM, CLAIM)
    assert "ix_executions_line" in found
    assert not sorts(found)


def test_joining_the_line_looks_at_one_row_of_each_kind(engine: Engine) -> None:
    found = plan(engine, select(place()), lanes.lane_of(an_execution()))
    if engine.dialect.name == "sqlite":
        assert found.count("ix_executions_line ") == found.count("ix_executions_lane ") == 2
    assert "Seq Scan" not in found
    assert not sorts(found)


@pytest.mark.parametrize(
    "statement",
    [lanes.HEAD, lanes.IN_PLACES, lanes.COUNT_WAITING, lanes.COUNT_LIMITED, lanes.OTHERS],
)
def test_a_lane_s_decisions_read_that_lane_only(engine: Engine, statement: Any) -> None:
    values = {**lanes.lane_of(an_execution()), "most": 10, "key": a_new_id()}
    assert "ix_executions_lane" in plan(engine, statement, values)


def test_the_head_of_a_lane_is_found_without_sorting(engine: Engine) -> None:
    assert not sorts(plan(engine, lanes.HEAD, lanes.lane_of(an_execution())))


@pytest.mark.parametrize("statement", [lanes.DUE, lanes.NEXT_DUE])
def test_the_timer_reads_only_what_is_early(engine: Engine, statement: Any) -> None:
    found = plan(engine, statement, {"now": NOW, "most": 10})
    assert "ix_executions_early" in found
    assert not sorts(found)


def test_a_position_is_counted_in_the_line(engine: Engine) -> None:
    found = plan(engine, before(a_new_id(), limit=1000))
    assert "SCAN other" not in found
    assert "Seq Scan" not in found


def test_claiming_by_id_reads_only_those_ids(engine: Engine) -> None:
    values = {**CLAIM, "only": [a_new_id(), a_new_id()]}
    found = plan(engine, statements.CLAIM_ONLY, values)
    assert "SCAN executions" not in found
    assert "Seq Scan" not in found


def test_looking_for_what_to_announce_reads_only_what_can_be_claimed(engine: Engine) -> None:
    pauses = [timedelta(minutes=1), timedelta(minutes=2)]
    found = plan(engine, statements.dispatch(pauses, 10, NOW))
    assert "ix_executions_line" in found
    assert not sorts(found)


def test_claiming_chooses_before_it_changes(engine: Engine) -> None:
    """Else PostgreSQL might choose, and lock, again for each row."""
    if engine.dialect.name == "postgresql":
        assert "CTE first" in plan(engine, statements.CLAIM, CLAIM)


def test_reaping_reads_only_leases(engine: Engine) -> None:
    for lost in ([], [ANN]):
        assert "ix_executions_lease" in plan(engine, statements.abandoned(lost, 10, NOW))


def test_handing_back_reads_only_what_runs(engine: Engine) -> None:
    found = plan(engine, statements.CLAIMED, {"owner": ANN})
    assert "SCAN executions" not in found
    assert "Seq Scan" not in found


def test_looking_for_owners_reads_only_leases(engine: Engine) -> None:
    assert "ix_executions_lease" in plan(engine, OWNERS)


def test_renewing_reads_only_what_is_held(engine: Engine) -> None:
    found = plan(engine, statements.renew(ANN, [Held(a_new_id(), 1)], NOW, NOW))
    assert "SCAN executions" not in found
    assert "Seq Scan" not in found
