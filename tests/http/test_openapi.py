"""The document and the server agree; schemathesis tries to prove the opposite."""

import re
from typing import Any

import httpx
import schemathesis
from hypothesis import settings
from schemathesis import Case
from schemathesis.schemas import BaseSchema

from crewserve.domain.status import Status
from crewserve.http.gate import Auth
from crewserve.testing.builders import an_execution
from tests.support.api import Bench, a_bench, describe

# What is invalid shall be refused for that, not for its size.
tried = a_bench(max_body_bytes=2**20, auth=Auth.NONE)
closed = a_bench(max_body_bytes=2**20, auth=Auth.REQUIRED)
KEY = closed.key("admin", expires_at=None)


def tried_schema(bench: Bench, **headers: str) -> BaseSchema:
    describe(bench, input_schema={"type": "object"})  # the fake host accepts any
    bench.store._add(an_execution(Status.COMPLETED), [])
    return schemathesis.openapi.from_asgi("/openapi.json", bench.app, headers=headers)


schema = tried_schema(tried)
closed_schema = tried_schema(closed, **KEY)


@schema.parametrize()
def test_every_answer_is_as_documented(case: Case[Any]) -> None:
    tried.store._keys.clear()  # two requests with one key are refused, however valid they are
    case.call_and_validate()


@closed_schema.parametrize()
@settings(max_examples=10)
def test_with_a_key_every_answer_is_as_documented_and_without_it_none_is_given(
    case: Case[Any],
) -> None:
    closed.store._keys.clear()
    case.call_and_validate(headers=KEY)


async def test_inputs_and_results_are_each_flow_s_own(api: httpx.AsyncClient, bench: Bench) -> None:
    describe(bench)
    document = (await api.get("http://test/openapi.json")).json()
    schemas, paths = document["components"]["schemas"], document["paths"]
    body = paths["/api/v1/topic-flow/execute"]["post"]["requestBody"]["content"]
    assert body["application/json"]["schema"] == {"$ref": "#/components/schemas/Topic"}
    assert "topic" in schemas["free_flow_inputs"]["properties"]
    shown = paths["/api/v1/topic-flow/execution/{execution_id}"]["get"]["responses"]["200"]
    name = shown["content"]["application/json"]["schema"]["$ref"].rpartition("/")[2]
    assert schemas[name]["properties"]["result"]["anyOf"][0] == {
        "$ref": "#/components/schemas/Text"
    }


async def test_every_route_that_takes_a_body_may_find_it_too_large(api: httpx.AsyncClient) -> None:
    document = (await api.get("http://test/openapi.json")).json()
    operations = [one for path in document["paths"].values() for one in path.values()]
    taking = [one for one in operations if "requestBody" in one]
    assert len(taking) > 3
    assert all("413" in one["responses"] for one in taking)


async def test_the_schema_of_a_flow_appears_when_it_has_loaded(
    api: httpx.AsyncClient, bench: Bench
) -> None:
    before = (await api.get("http://test/openapi.json")).json()
    assert "free_flow_inputs" not in before["components"]["schemas"]
    describe(bench)
    after = (await api.get("http://test/openapi.json")).json()
    assert "free_flow_inputs" in after["components"]["schemas"]


async def test_every_documented_error_is_a_problem(api: httpx.AsyncClient) -> None:
    document = (await api.get("http://test/openapi.json")).json()
    assert "HTTPValidationError" not in document["components"]["schemas"]
    for path in document["paths"].values():
        for operation in path.values():
            for status, response in operation["responses"].items():
                expected = status >= "400"
                assert ("application/problem+json" in response.get("content", {})) == expected


async def test_the_documentation_pages_load_nothing_from_elsewhere(api: httpx.AsyncClient) -> None:
    for page in ("/docs", "/redoc"):
        html = (await api.get(f"http://test{page}")).text
        loaded = re.findall(r"""(?:src|href)=["']([^"']+)""", html)
        assert loaded
        for url in loaded:
            assert url.startswith("/docs-assets/")
            assert (await api.get(f"http://test{url}")).status_code == 200
