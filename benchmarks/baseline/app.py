"""The baseline's FastAPI application."""

from fastapi import FastAPI

from benchmarks.baseline.routers import make_router
from benchmarks.flows.crew_flow import CrewFlow
from benchmarks.flows.noop_flow import NoopFlow
from benchmarks.models import CrewRequest, CrewResult, NoopRequest, NoopResult

app = FastAPI()
app.include_router(
    make_router("noop_flow", NoopFlow, NoopRequest, NoopResult), prefix="/api/v1/noop-flow"
)
app.include_router(
    make_router("crew_flow", CrewFlow, CrewRequest, CrewResult), prefix="/api/v1/crew-flow"
)


@app.get("/health")
async def health() -> dict[str, str]:
    return {"status": "healthy"}
