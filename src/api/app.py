"""The FastAPI app of this deployment."""

from crewserve.serving import create_app

from .execution_store import execution_store
from .executions_router import router as executions_router
from .poem_flow import router as poem_flow_router

app = create_app(bind_hand_driven=execution_store.bind)

app.include_router(executions_router, prefix="/api/v1/executions", tags=["executions"])
app.include_router(poem_flow_router, prefix="/api/v1/poem-flow", tags=["poem-flow"])
