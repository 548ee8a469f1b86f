"""`/api/v1/flows`: what is served."""

from http import HTTPStatus

from fastapi import APIRouter, Response

from crewserve.http.answers import json_answer
from crewserve.http.deps import StateDep
from crewserve.http.problems import responses
from crewserve.protocol.flows import FlowDetail, FlowList, FlowSummary, detail, summary_fields

router = APIRouter(prefix="/api/v1/flows", tags=["flows"])


@router.get("", response_model=FlowList)
async def list_flows(state: StateDep) -> Response:
    """Every served flow, whether it could be loaded or not."""
    catalog = state.catalog
    flows = [
        FlowSummary(**summary_fields(spec, catalog.description(name), state.execute_urls[name]))
        for name, spec in sorted(catalog.specs.items())
    ]
    return json_answer(FlowList(flows=flows))


@router.get("/{name}", response_model=FlowDetail, responses=responses(HTTPStatus.NOT_FOUND))
async def get_flow(name: str, state: StateDep) -> Response:
    """A flow's description, input schema and method graph. Takes its name or its path."""
    spec = state.catalog.find(name)
    description = state.catalog.description(spec.name)
    url = state.execute_urls[spec.name]
    return json_answer(detail(spec, description, url, tracebacks=state.tracebacks))
