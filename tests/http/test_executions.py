from dataclasses import replace
from http import HTTPStatus

import httpx

from crewserve.domain.errors import FieldError
from crewserve.domain.failure import Failure, FailureCode
from crewserve.domain.flow import FlowHealth
from crewserve.domain.status import Status
from crewserve.testing.builders import an_execution
from tests.support.api import Bench, assert_problem, describe

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
