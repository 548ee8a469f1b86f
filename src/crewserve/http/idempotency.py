"""`Idempotency-Key`: sending a start again without starting it again.

https://datatracker.ietf.org/doc/html/draft-ietf-httpapi-idempotency-key-header-07
"""

import hashlib
import json
import re
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any, Final

from fastapi import Request, Response

from crewserve.domain.errors import InvalidKey
from crewserve.domain.idempotency import IdempotencyKey, Started
from crewserve.domain.ids import title_of
from crewserve.domain.status import Status
from crewserve.http.answers import json_answer
from crewserve.protocol.executions import ExecutionResponse

HEADER: Final = "Idempotency-Key"
REPLAYED: Final = "Idempotency-Replayed"

_QUOTED: Final = r'"(?:[ !#-\[\]-~]|\\["\\]){1,255}"'
"""A string of RFC 9651, as the draft wants it."""
_BARE: Final = r"[!#-~][ -~]{0,254}"
"""The same key without the quotes, as most clients send it."""
_ACCEPTABLE: Final = re.compile(f"{_QUOTED}|{_BARE}")

OPENAPI: Final[dict[str, Any]] = {
    "parameters": [
        {
            "name": HEADER,
            "in": "header",
            "required": False,
            "description": "A value of your own, such as a UUID. The same request sent again with "
            "the same key within 24 hours starts nothing and has the same answer.",
            "schema": {"type": "string", "pattern": f"^(?:{_QUOTED}|{_BARE})$"},
        }
    ],
    "responses": {
        "202": {
            "headers": {
                REPLAYED: {
                    "description": "An earlier request with the same key was answered so.",
                    "schema": {"const": "true"},
                }
            }
        }
    },
}
"""What the routes that start something add to their part of the document."""


async def key_of(request: Request) -> IdempotencyKey | None:
    """The key of *request*, whose body was read; None when it has none. Raises: InvalidKey."""
    given = request.headers.getlist(HEADER)
    if not given:
        return None
    if len(given) > 1 or not _ACCEPTABLE.fullmatch(given[0]):
        raise InvalidKey
    return IdempotencyKey(value=_unquoted(given[0]), fingerprint=await _fingerprint(request))


def started_answer(
    started: Started, parent: str, headers: Mapping[str, str] | None = None
) -> Response:
    """What a start is answered with, each time. Its execution is shown below the path *parent*."""
    answer = ExecutionResponse(
        execution_id=str(started.id),
        status=Status.PENDING,
        message=f"{title_of(started.flow)} execution initiated with ID: {started.id}",
    )
    headers = {**started_headers(started, parent), **(headers or {})}
    return json_answer(answer, HTTPStatus.ACCEPTED, headers)


def started_headers(started: Started, parent: str) -> dict[str, str]:
    """Of any answer to a start."""
    headers = {"Location": f"{parent}/{started.id}"}
    if started.replayed:
        headers[REPLAYED] = "true"
    return headers


def _unquoted(value: str) -> str:
    return re.sub(r"\\(.)", r"\1", value[1:-1]) if value.startswith('"') else value


async def _fingerprint(request: Request) -> str:
    """Does not depend on the order of keys in the body or of parameters in the query."""
    query = sorted(request.query_params.multi_items())
    parts = [request.method, request.url.path, query, await _body(request)]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


async def _body(request: Request) -> str:
    if not await request.body():
        return ""
    try:
        return json.dumps(await request.json(), sort_keys=True)
    except RecursionError:  # what could just be parsed may be too deep to be written
        return hashlib.sha256(await request.body()).hexdigest()
