"""Answers that are written straight from a model, without FastAPI's second validation."""

from collections.abc import Mapping
from http import HTTPStatus

from fastapi import Response
from pydantic import BaseModel


def json_answer(
    model: BaseModel, status: HTTPStatus = HTTPStatus.OK, headers: Mapping[str, str] | None = None
) -> Response:
    """*model* was built by us from checked data, so it is only serialised."""
    return Response(model.model_dump_json(), status, headers, media_type="application/json")
