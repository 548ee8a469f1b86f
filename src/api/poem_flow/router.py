"""The poem flow's endpoints, made from its models by one call."""

from crewserve.serving import flow_router

from .models import PoemFlowRequest, PoemFlowResult

router = flow_router(
    "flows.poem_flow.main:PoemFlow", request=PoemFlowRequest, result=PoemFlowResult
)
