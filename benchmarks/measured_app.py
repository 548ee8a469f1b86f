"""crewserve with the benchmark's flows; `noop_reuse_flow` may keep its processes."""

from benchmarks.models import CrewRequest, CrewResult, NoopRequest, NoopResult
from crewserve.serving import create_app, flow_router

NOOP = "benchmarks.flows.noop_flow:NoopFlow"

app = create_app()
app.include_router(
    flow_router(NOOP, request=NoopRequest, result=NoopResult), prefix="/api/v1/noop-flow"
)
app.include_router(
    flow_router(
        NOOP, request=NoopRequest, result=NoopResult, name="noop_reuse_flow", reuse=1_000_000
    ),
    prefix="/api/v1/noop-reuse-flow",
)
app.include_router(
    flow_router("benchmarks.flows.crew_flow:CrewFlow", request=CrewRequest, result=CrewResult),
    prefix="/api/v1/crew-flow",
)
