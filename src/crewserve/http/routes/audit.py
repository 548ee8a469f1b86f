"""`/api/v1/audit`: who did what."""

from http import HTTPStatus
from typing import Annotated

from fastapi import APIRouter, Query, Request, Response
from pydantic import BaseModel, ConfigDict, Field

from crewserve.domain.audit import Action, AuditQuery
from crewserve.domain.ids import Tenant
from crewserve.http import cursors
from crewserve.http.answers import json_answer
from crewserve.http.deps import StateDep
from crewserve.http.problems import responses
from crewserve.protocol.audit import AuditList, audit_list

router = APIRouter(prefix="/api/v1/audit", tags=["audit"])


class AuditFilter(BaseModel):
    """What the log may be asked for; anything else in the query is refused."""

    model_config = ConfigDict(extra="forbid")

    actor: str | None = Field(None, max_length=200)
    action: Action | None = None
    target: str | None = Field(None, max_length=300)
    tenant: str | None = Field(None, max_length=100)
    limit: int = Field(100, ge=1, le=1000)
    cursor: str | None = Field(
        None, pattern=cursors.ID_PATTERN, description="`next_cursor` of the page before."
    )


@router.get("", response_model=AuditList, responses=responses(HTTPStatus.UNPROCESSABLE_ENTITY))
async def list_audit_entries(
    found: Annotated[AuditFilter, Query()], state: StateDep, http: Request
) -> Response:
    """What was done to keys, executions, queues and workers of all tenants, the newest first."""
    query = AuditQuery(
        actor=found.actor,
        action=found.action,
        target=found.target,
        tenant=None if found.tenant is None else Tenant(found.tenant),
        after=None if found.cursor is None else cursors.decode_id(found.cursor),
        limit=found.limit + 1,
    )
    entries = await state.audit.page(query)
    page = entries[: found.limit]
    cursor = cursors.encode_id(page[-1].id) if len(entries) > found.limit else None
    return json_answer(audit_list(page, cursor), headers=cursors.links(http, cursor))
