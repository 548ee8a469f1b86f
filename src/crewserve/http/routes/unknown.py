"""Routes of flows that are not served: an answer that says which ones are."""

from fastapi import APIRouter

from crewserve.domain.errors import FlowNotFound
from crewserve.http.deps import StateDep

router = APIRouter(include_in_schema=False)


@router.post("/api/v1/{flow}/execute")
async def execute_unknown_flow(flow: str, state: StateDep) -> None:
    """Reached only when no flow's own router took the request."""
    raise FlowNotFound(flow, list(state.catalog.specs))


@router.get("/api/v1/{flow}/execution/{execution_id}")
async def show_unknown_flow(flow: str, execution_id: str, state: StateDep) -> None:
    """The same for the status."""
    raise FlowNotFound(flow, list(state.catalog.specs))
