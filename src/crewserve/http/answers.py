"""Answers that are written straight from data, without FastAPI's second validation."""

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from fastapi import Response
from pydantic import BaseModel
from pydantic_core import to_json


def json_answer(
    body: BaseModel | Mapping[str, Any],
    status: HTTPStatus = HTTPStatus.OK,
    headers: Mapping[str, str] | None = None,
) -> Response:
    """*body* was built by us from checked data, so it is only serialised."""
    return Response(to_json(body), status, headers, media_type="application/json")
