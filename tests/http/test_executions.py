from dataclasses import replace
from datetime import timedelta
from http import HTTPStatus

import httpx
import pytest

from crewserve.domain.errors import FieldError
from crewserve.domain.execution import Execution
from crewserve.domain.failure import Failure, FailureCode
from crewserve.domain.flow import FlowHealth
from crewserve.domain.ids import FlowName
from crewserve.domain.status import Status
from crewserve.testing.builders import NOW, an_execution
from tests.support.api import Bench, assert_problem, describe

A_MONTH = "created_from=2026-01-01T00:00:00Z&created_before=2026-02-01T00:00:00Z"
UNKNOWN = "01a20684-3c99-7656-b2f7-8842218c7bf5"


async def test_a_start_is_recorded_announced_and_says_where_to_look(
    api: httpx.AsyncClient, bench: Bench
) -> None:
    answer = await api.post("/topic-flow/execute", json={"topic": "tea"})
    assert answer.status_code == HTTPStatus.ACCEPTED
    [execution] = bench.store._rows.values()
    assert execution.inputs == {"topic": "tea", "lines": 3}
    assert answer.json() == {
        "execution_id": str(execution.id),
        "status": "pending",
        "message": f"Topic flow execution initiated with ID: {execution.id}",
    }
    assert answer.headers["location"] == f"/api/v1/topic-flow/execution/{execution.id}"
    assert (await api.get(f"http://test{answer.headers['location']}")).status_code == HTTPStatus.OK
    assert len(bench.announced) == 1


async def test_wrong_inputs_are_refused_field_by_field_and_nothing_is_accepted(
    api: httpx.AsyncClient, bench: Bench
) -> None:
    answer = await api.post("/topic-flow/execute", json={"topic": "", "lines": "many"})
    problem = assert_problem(answer, HTTPStatus.UNPROCESSABLE_ENTITY, "invalid_input")
    assert [error["field"] for error in problem["errors"]] == ["topic", "lines"]  # type: ignore[attr-defined]
    assert bench.store._rows == {}


async def test_a_flow_without_models_lets_its_own_state_decide(
    api: httpx.AsyncClient, bench: Bench
) -> None:
    bench.host.errors = [FieldError("customer.name", "Field required", "missing")]
    answer = await api.post("/free-flow/execute", json={"customer": {}})
    problem = assert_problem(answer, HTTPStatus.UNPROCESSABLE_ENTITY, "invalid_input")
    assert problem["errors"] == [
        {"field": "customer.name", "message": "Field required", "type": "missing"}
    ]
    bench.host.errors = []
    assert (await api.post("/free-flow/execute", json={"a": 1})).status_code == HTTPStatus.ACCEPTED


async def test_an_id_among_the_inputs_is_always_refused(api: httpx.AsyncClient) -> None:
    answer = await api.post("/free-flow/execute", json={"id": UNKNOWN})
    problem = assert_problem(answer, HTTPStatus.UNPROCESSABLE_ENTITY, "invalid_input")
    assert [error["field"] for error in problem["errors"]] == ["id"]  # type: ignore[attr-defined]


async def test_half_a_character_is_refused(api: httpx.AsyncClient, bench: Bench) -> None:
    headers = {"Content-Type": "application/json"}
    content = b'{"topic": {"deep": "\\ud800"}}'
    answer = await api.post("/free-flow/execute", content=content, headers=headers)
    assert_problem(answer, HTTPStatus.UNPROCESSABLE_ENTITY, "invalid_input")
    assert bench.store._rows == {}


async def test_a_flow_that_cannot_be_loaded_takes_no_work(
    api: httpx.AsyncClient, bench: Bench
) -> None:
    describe(bench, health=FlowHealth.BROKEN, error="importing m failed: No module named 'm'")
    answer = await api.post("/free-flow/execute", json={})
    problem = assert_problem(answer, HTTPStatus.SERVICE_UNAVAILABLE, "flow_unavailable")
    assert "No module named 'm'" in str(problem["detail"])


async def test_another_flow_s_execution_is_not_found(api: httpx.AsyncClient, bench: Bench) -> None:
    execution = an_execution()
    bench.store._add(execution, [])
    answer = await api.get(f"/topic-flow/execution/{execution.id}")
    assert_problem(answer, HTTPStatus.NOT_FOUND, "execution_not_found")
    assert (await api.get(f"/executions/{execution.id}")).status_code == HTTPStatus.OK


async def test_a_failure_is_told_and_its_traceback_only_where_it_may_be(
    api: httpx.AsyncClient, bench: Bench
) -> None:
    failure = Failure(
        code=FailureCode.FLOW_ERROR, message="boom", type="E", step="a", traceback="File 1"
    )
    execution = an_execution(Status.FAILED, failure=failure)
    bench.store._add(execution, [])
    for tracebacks, expected in ((True, "File 1"), (False, None)):
        bench.attach(tracebacks=tracebacks)
        shown = (await api.get(f"/executions/{execution.id}")).json()
        details = {"code": "flow_error", "type": "E", "step": "a", "traceback": expected}
        assert (shown["error"], shown["error_details"]) == ("boom", details)


async def test_pages_are_linked_until_the_last(api: httpx.AsyncClient, bench: Bench) -> None:
    executions = [an_execution() for _ in range(5)]
    for execution in executions:
        bench.store._add(execution, [])
    url, seen = "http://test/api/v1/executions?limit=2&flow_name=poem_flow", []
    while url:
        answer = await api.get(url)
        seen += [shown["execution_id"] for shown in answer.json()["executions"]]
        url = answer.links.get("next", {}).get("url", "")
        assert bool(url) == (answer.json()["next_cursor"] is not None)
    assert seen == [str(execution.id) for execution in reversed(executions)]


async def test_deleting_removes_record_and_files(api: httpx.AsyncClient, bench: Bench) -> None:
    ended, running = an_execution(Status.COMPLETED), an_execution(Status.RUNNING)
    bench.store._rows = {ended.id: ended, running.id: running}
    answer = await api.delete(f"/executions/{ended.id}")
    assert (answer.status_code, answer.content) == (HTTPStatus.NO_CONTENT, b"")
    assert bench.files.removed == [ended.id]
    refused = await api.delete(f"/executions/{running.id}")
    assert_problem(refused, HTTPStatus.CONFLICT, "execution_active")
    assert bench.files.removed == [ended.id]


async def test_the_result_of_a_flow_is_shown_as_it_is(api: httpx.AsyncClient, bench: Bench) -> None:
    execution = replace(an_execution(Status.COMPLETED), result={"text": "ü", "n": [1, None]})
    bench.store._add(execution, [])
    shown = (await api.get(f"/executions/{execution.id}")).json()
    assert shown["result"] == {"text": "ü", "n": [1, None]}
    assert "error_details" not in shown


@pytest.fixture
def mixed(bench: Bench) -> list[Execution]:
    """Two that are pending, one that completed, one that failed; an hour apart."""
    failure = Failure(code=FailureCode.TIMEOUT, message="It took too long", traceback="File 1")
    kinds = [
        an_execution(),
        an_execution(flow=FlowName("other_flow")),
        an_execution(Status.COMPLETED, result={"poem": "a"}),
        an_execution(Status.FAILED, failure=failure),
    ]
    made = [
        replace(execution, created_at=NOW + number * timedelta(hours=1))
        for number, execution in enumerate(kinds)
    ]
    for execution in made:
        bench.store._add(execution, [])
    return made


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("status=failed&status=completed", [3, 2]),
        ("status=failed&status=completed&flow_name=other_flow", []),
        ("error_code=timeout&error_code=flow_error", [3]),
        ("error_text=TOO%20long", [3]),
        ("order=oldest_first&limit=2", [0, 1]),
        ("created_from=2026-01-01T13:00:00Z&created_before=2026-01-01T16:00:00%2B01:00", [2, 1]),
        ("created_from=2026-01-01T14:00:00Z&created_before=2026-01-01T13:00:00Z", []),
        ("created_from=9999-12-31T23:59:59Z", []),
        ("created_before=0001-01-01T00:00:00%2B14:00", []),
    ],
)
async def test_a_list_is_what_its_filters_let_through(
    api: httpx.AsyncClient, mixed: list[Execution], query: str, expected: list[int]
) -> None:
    shown = (await api.get(f"/executions?{query}")).raise_for_status().json()["executions"]
    assert [one["execution_id"] for one in shown] == [str(mixed[place].id) for place in expected]


async def test_a_list_walked_from_the_oldest_has_everything_once(
    api: httpx.AsyncClient, mixed: list[Execution]
) -> None:
    url, seen = "http://test/api/v1/executions?limit=1&order=oldest_first", []
    while url:
        answer = await api.get(url)
        seen += [shown["execution_id"] for shown in answer.json()["executions"]]
        url = answer.links.get("next", {}).get("url", "")
    assert seen == [str(execution.id) for execution in mixed]


async def test_fields_that_nobody_asks_for_are_left_out(
    api: httpx.AsyncClient, mixed: list[Execution]
) -> None:
    answer = await api.get("/executions?fields=error,completed_at")
    always = {"execution_id", "flow_name", "status", "created_at"}
    assert {frozenset(one) for one in answer.json()["executions"]} == {
        frozenset(always | {"error", "completed_at"})
    }


@pytest.mark.parametrize(
    ("path", "field"),
    [
        ("?fields=execution_id", "fields"),
        ("?fields=error,", "fields"),
        ("?status=done", "status"),
        ("?created_from=2026-01-01T12:00:00", "created_from"),
        ("?created_from=0.5", "created_from"),
        ("?error_text=", "error_text"),
        ("?order=random", "order"),
        ("/count?group_by=inputs", "group_by"),
        ("/count?group_by=status,", "group_by"),
        ("/count?limit=3", "limit"),
        ("/histogram?interval=second", "interval"),
    ],
)
async def test_a_filter_that_makes_no_sense_is_named(
    api: httpx.AsyncClient, path: str, field: str
) -> None:
    answer = await api.get(f"/executions{path}")
    problem = assert_problem(answer, HTTPStatus.UNPROCESSABLE_ENTITY, "invalid_parameter")
    assert [error["field"] for error in problem["errors"]] == [field]  # type: ignore[attr-defined]


async def test_executions_are_counted_in_groups(
    api: httpx.AsyncClient, mixed: list[Execution]
) -> None:
    assert (await api.get("/executions/count")).json() == {"total": 4, "counts": [{"count": 4}]}
    answer = await api.get("/executions/count?group_by=status,error_code&flow_name=poem_flow")
    assert answer.json() == {
        "total": 3,
        "counts": [
            {"status": "completed", "count": 1},
            {"status": "failed", "error_code": "timeout", "count": 1},
            {"status": "pending", "count": 1},
        ],
    }


async def test_a_histogram_has_every_interval_of_its_window(
    api: httpx.AsyncClient, bench: Bench, mixed: list[Execution]
) -> None:
    window = "created_from=2026-01-01T12:30:00Z&created_before=2026-01-01T16:00:00Z"
    answer = (await api.get(f"/executions/histogram?{window}")).json()
    assert answer["interval"] == "hour"
    assert [(bar["start"][11:16], bar["total"], bar["by_status"]) for bar in answer["bars"]] == [
        ("12:00", 0, {}),
        ("13:00", 1, {"pending": 1}),
        ("14:00", 1, {"completed": 1}),
        ("15:00", 1, {"failed": 1}),
    ]
    bars = (await api.get(f"/executions/histogram?interval=minute&{A_MONTH}")).json()["bars"]
    assert (len(bars), bars[0]["start"]) == (1000, "2026-01-01T00:00:00.000Z")
    bench.clock.now = NOW + timedelta(hours=1)
    bars = (await api.get("/executions/histogram?interval=minute")).json()["bars"]
    assert (len(bars), bars[0]["start"], bars[0]["total"]) == (60, "2026-01-01T12:00:00.000Z", 1)
