"""`/api/v1/keys`: who may do what."""

from datetime import timedelta
from http import HTTPStatus
from typing import Annotated, Final

from fastapi import APIRouter, Path, Query, Request, Response
from pydantic import BaseModel, ConfigDict, Field

from crewserve.application.api_keys import Grant
from crewserve.domain.ids import KeyId
from crewserve.http import cursors
from crewserve.http.answers import json_answer
from crewserve.http.deps import StateDep
from crewserve.http.problems import responses
from crewserve.protocol.api_keys import (
    ApiKeyBody,
    ApiKeyList,
    ApiKeyRequest,
    NewApiKeyBody,
    RotateRequest,
    key_body,
    key_list,
    new_key_body,
)

router = APIRouter(prefix="/api/v1/keys", tags=["keys"])

GivenKeyId = Annotated[str, Path(pattern="^[0-9a-f]{12}$")]

_UNPROCESSABLE: Final = HTTPStatus.UNPROCESSABLE_ENTITY
_ONE: Final = responses(HTTPStatus.NOT_FOUND, _UNPROCESSABLE)
_NOT_KEPT: Final = {"Cache-Control": "no-store"}


class KeyPage(BaseModel):
    """Which part of the list; anything else in the query is refused."""

    model_config = ConfigDict(extra="forbid")

    limit: int = Field(100, ge=1, le=1000)
    cursor: str | None = Field(
        None, pattern=cursors.NAME_PATTERN, description="`next_cursor` of the page before."
    )


@router.get("", response_model=ApiKeyList, responses=responses(_UNPROCESSABLE))
async def list_keys(page: Annotated[KeyPage, Query()], state: StateDep, http: Request) -> Response:
    """All keys of all tenants, by id, also those that count no more."""
    after = None if page.cursor is None else KeyId(cursors.decode_name(page.cursor))
    found = await state.api_keys.page(limit=page.limit + 1, after=after)
    keys = found[: page.limit]
    cursor = cursors.encode_name(keys[-1].id) if len(found) > page.limit else None
    return json_answer(key_list(keys, cursor), headers=cursors.links(http, cursor))


@router.post(
    "",
    status_code=HTTPStatus.CREATED,
    response_model=NewApiKeyBody,
    responses=responses(HTTPStatus.BAD_REQUEST, _UNPROCESSABLE),
)
async def create_key(wish: ApiKeyRequest, state: StateDep) -> Response:
    """Make a key. The answer is the only one that has it."""
    made = await state.api_keys.create(Grant(**wish.grant))
    return json_answer(new_key_body(*made), HTTPStatus.CREATED, _NOT_KEPT)


@router.delete("/{key_id}", response_model=ApiKeyBody, responses=_ONE)
async def revoke_key(key_id: GivenKeyId, state: StateDep) -> Response:
    """Let it count no more. Other processes hear of it within 5 seconds."""
    return json_answer(key_body(await state.api_keys.revoke(KeyId(key_id))))


@router.post(
    "/{key_id}/rotate",
    status_code=HTTPStatus.CREATED,
    response_model=NewApiKeyBody,
    responses={**_ONE, **responses(HTTPStatus.BAD_REQUEST, HTTPStatus.CONFLICT)},
)
async def rotate_key(
    key_id: GivenKeyId, state: StateDep, wish: RotateRequest | None = None
) -> Response:
    """Make a key that is good for the same, and end the old one, at once or after an overlap."""
    overlap = timedelta(seconds=wish.overlap_seconds if wish else 0)
    made = await state.api_keys.rotate(KeyId(key_id), overlap=overlap)
    return json_answer(new_key_body(*made), HTTPStatus.CREATED, _NOT_KEPT)
