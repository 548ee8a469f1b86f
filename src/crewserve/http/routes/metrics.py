"""What a monitoring system asks for."""

from typing import Final

from fastapi import APIRouter, Response

from crewserve.http.deps import StateDep

router = APIRouter(tags=["server"])

MEDIA_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"


@router.get("/metrics", include_in_schema=False)
async def metrics(state: StateDep) -> Response:
    """In the text format of Prometheus."""
    return Response(await state.metrics(), headers={"Content-Type": MEDIA_TYPE})
