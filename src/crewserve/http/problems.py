"""How each error looks on the wire. The only place that knows HTTP status codes of errors."""

import logging
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from math import ceil
from typing import Any, Final

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.routing import Match
from starlette.status import WS_1008_POLICY_VIOLATION
from starlette.types import Receive, Scope, Send

from crewserve.domain import access_errors, errors
from crewserve.http.rate_headers import rate_headers
from crewserve.http.request_id import request_id_of
from crewserve.protocol.problems import MEDIA_TYPE, Problem, ProblemField

log = logging.getLogger(__name__)

STATUS: Final[Mapping[type[errors.CrewserveError], HTTPStatus]] = {
    access_errors.ApiKeyEnded: HTTPStatus.CONFLICT,
    access_errors.ApiKeyNotFound: HTTPStatus.NOT_FOUND,
    access_errors.IssuerUnavailable: HTTPStatus.SERVICE_UNAVAILABLE,
    access_errors.KeyRefused: HTTPStatus.UNAUTHORIZED,
    access_errors.KeyRequired: HTTPStatus.UNAUTHORIZED,
    access_errors.ScopeMissing: HTTPStatus.FORBIDDEN,
    access_errors.TooManyRequests: HTTPStatus.TOO_MANY_REQUESTS,
    access_errors.TokenRefused: HTTPStatus.UNAUTHORIZED,
    access_errors.HostRefused: HTTPStatus.MISDIRECTED_REQUEST,
    access_errors.OriginRefused: HTTPStatus.FORBIDDEN,
    errors.ExecutionNotFound: HTTPStatus.NOT_FOUND,
    errors.ExecutionActive: HTTPStatus.CONFLICT,
    errors.FlowNotFound: HTTPStatus.NOT_FOUND,
    errors.FlowUnavailable: HTTPStatus.SERVICE_UNAVAILABLE,
    errors.InvalidEventId: HTTPStatus.BAD_REQUEST,
    errors.InvalidKey: HTTPStatus.BAD_REQUEST,
    errors.InvalidInputs: HTTPStatus.UNPROCESSABLE_ENTITY,
    errors.InvalidTransition: HTTPStatus.CONFLICT,
    errors.KeyMismatch: HTTPStatus.UNPROCESSABLE_ENTITY,
    errors.KeyTaken: HTTPStatus.CONFLICT,
    errors.LaneFull: HTTPStatus.TOO_MANY_REQUESTS,
    errors.NotCancellable: HTTPStatus.CONFLICT,
    errors.NotRetryable: HTTPStatus.CONFLICT,
    errors.QueueFull: HTTPStatus.TOO_MANY_REQUESTS,
    errors.QueueNotFound: HTTPStatus.NOT_FOUND,
    errors.StaleExecution: HTTPStatus.CONFLICT,
    errors.StepNotFound: HTTPStatus.UNPROCESSABLE_ENTITY,
    errors.StepNotRecorded: HTTPStatus.NOT_FOUND,
    errors.NotReady: HTTPStatus.SERVICE_UNAVAILABLE,
    errors.ServerNotReady: HTTPStatus.SERVICE_UNAVAILABLE,
    errors.StorageUnavailable: HTTPStatus.SERVICE_UNAVAILABLE,
    errors.ValueRefused: HTTPStatus.UNPROCESSABLE_ENTITY,
    errors.WorkerNotFound: HTTPStatus.NOT_FOUND,
    errors.WorkerStopped: HTTPStatus.CONFLICT,
}

_RETRY_AFTER: Final[Mapping[type[errors.CrewserveError], str]] = {
    access_errors.IssuerUnavailable: "10",
    errors.KeyTaken: "1",
    errors.LaneFull: "5",
    errors.QueueFull: "5",
    errors.StorageUnavailable: "5",
}
"""Seconds."""

UNREADABLE: Final = "There was an error parsing the body"
"""What FastAPI says of a body that its parser cannot even decode."""

METHODS: Final = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE")

HTTP_CODES: Final = {
    HTTPStatus.BAD_REQUEST: "bad_request",
    HTTPStatus.NOT_FOUND: "not_found",
    HTTPStatus.METHOD_NOT_ALLOWED: "method_not_allowed",
    HTTPStatus.REQUEST_TIMEOUT: "body_too_slow",
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE: "body_too_large",
    HTTPStatus.UNSUPPORTED_MEDIA_TYPE: "unsupported_media_type",
}
"""Codes of errors that Starlette raises itself, or that a hand-written router raises."""


def install(app: FastAPI) -> None:
    """Answer every error with a problem document."""
    app.add_exception_handler(errors.CrewserveError, _ours)
    app.add_exception_handler(RequestValidationError, _validation)
    app.add_exception_handler(HTTPException, _http)
    app.add_exception_handler(Exception, _unexpected)


def responses(*statuses: HTTPStatus) -> dict[int | str, dict[str, Any]]:
    """What OpenAPI says of a route that may answer with these."""
    schema = {"$ref": "#/components/schemas/Problem"}
    return {
        status.value: {"description": status.phrase, "content": {MEDIA_TYPE: {"schema": schema}}}
        for status in statuses
    }


async def _ours(request: Request, error: Exception) -> Response:
    if not isinstance(error, errors.CrewserveError):
        raise error
    return answer(request, error)


def answer(request: Request, error: errors.CrewserveError) -> Response:
    """What *request* gets in place of what it asked for."""
    status, headers = STATUS[type(error)], _headers(error)
    return _problem(request, status, error.code, str(error), _fields(error), headers)


async def refuse(error: errors.CrewserveError, scope: Scope, receive: Receive, send: Send) -> None:
    """The same for middleware, also for what is no request but a WebSocket."""
    if scope["type"] == "websocket":
        await send({"type": "websocket.close", "code": WS_1008_POLICY_VIOLATION})
    else:
        await answer(Request(scope), error)(scope, receive, send)


def _headers(error: errors.CrewserveError) -> Mapping[str, str]:
    match error:
        case errors.NotReady():
            return {"Retry-After": str(ceil(error.retry_after.total_seconds()))}
        case access_errors.TooManyRequests():
            told = rate_headers([error.bucket])
            return {**told, "Retry-After": str(error.bucket.retry_seconds)}
        case access_errors.KeyRequired():
            return _challenge()
        case access_errors.KeyRefused() | access_errors.TokenRefused():
            return _challenge(error="invalid_token")
        case access_errors.ScopeMissing():
            return _challenge(error="insufficient_scope", scope=error.scope)
    seconds = _RETRY_AFTER.get(type(error))
    return {"Retry-After": seconds} if seconds else {}


def _challenge(**attributes: str) -> Mapping[str, str]:
    """RFC 6750, section 3."""
    pairs = {"realm": "crewserve", **attributes}
    return {"WWW-Authenticate": "Bearer " + ", ".join(f'{n}="{v}"' for n, v in pairs.items())}


def _fields(error: errors.CrewserveError) -> Sequence[ProblemField] | None:
    if isinstance(error, errors.ServerNotReady):
        return [
            ProblemField(field=part, message=reason, type="not_ready")
            for part, reason in error.reasons.items()
        ]
    if isinstance(error, errors.InvalidInputs):
        return [
            ProblemField(field=found.field, message=found.message, type=found.type)
            for found in error.errors
        ]
    return None


async def _validation(request: Request, error: Exception) -> Response:
    """FastAPI refused the request before our code saw it."""
    if not isinstance(error, RequestValidationError):
        raise error
    found = error.errors()
    if isinstance(error.body, bytes):
        detail = "The body is not declared as JSON; send it with Content-Type: application/json"
        unsupported = HTTPStatus.UNSUPPORTED_MEDIA_TYPE
        return _problem(request, unsupported, HTTP_CODES[unsupported], detail)
    place = str(found[0]["loc"][0]) if found and found[0]["loc"] else "body"
    if found and found[0]["type"] == "json_invalid":
        reason = found[0].get("ctx", {}).get("error", "it cannot be parsed")
        detail = f"The body is not JSON: {reason} (character {found[0]['loc'][-1]})"
        return _problem(request, HTTPStatus.BAD_REQUEST, "malformed_json", detail)
    code = {"path": "malformed_id", "query": "invalid_parameter"}.get(place, "invalid_input")
    fields = [_field(one) for one in found]
    named = ", ".join(dict.fromkeys(field.field or "body" for field in fields))
    what = {"path": "The path", "query": "The query"}.get(place, "The body")
    detail = f"{what} has something wrong with: {named}"
    return _problem(request, HTTPStatus.UNPROCESSABLE_ENTITY, code, detail, fields)


def _field(found: Mapping[str, Any]) -> ProblemField:
    place, *path = found["loc"]
    if place == "query":  # a parameter that may be given again: which of them is said by its value
        path = path[:1]
    return ProblemField(
        field=".".join(map(str, path)), message=str(found["msg"]), type=str(found["type"])
    )


async def _http(request: Request, error: Exception) -> Response:
    """Raised by the framework (no such path, body too large) or by a hand-written router."""
    if not isinstance(error, HTTPException):
        raise error
    status = HTTPStatus(error.status_code)
    code = HTTP_CODES.get(status, status.name.lower())
    detail = error.detail
    if status is HTTPStatus.NOT_FOUND and detail == status.phrase:
        detail = f"There is nothing at {request.url.path}; /docs lists what there is"
    headers = dict(error.headers or {})
    if detail == UNREADABLE:
        code = "malformed_json"
        detail = "The body is not UTF-8, nested too deeply, or has a number of over 4,300 digits"
    if status is HTTPStatus.METHOD_NOT_ALLOWED:
        headers["Allow"] = ", ".join(_allowed_methods(request))
        detail = f"{request.method} is not possible here; possible are: {headers['Allow']}"
    return _problem(request, status, code, str(detail), headers=headers)


def _allowed_methods(request: Request) -> list[str]:
    """All methods of the path; Starlette itself names only those of the first route that fits."""
    scope = dict(request.scope)
    return [
        method
        for method in METHODS
        if any(
            route.matches({**scope, "method": method})[0] is Match.FULL
            for route in request.app.routes
        )
    ]


async def _unexpected(request: Request, error: Exception) -> Response:
    """Starlette answers these outside of all middleware, so the request id is added here."""
    request_id = request_id_of(request.scope) or ""
    log.error("Request %s failed", request_id, exc_info=error, extra={"request_id": request_id})
    detail = "The server failed on this request; its log has the reason under this request id"
    status, headers = HTTPStatus.INTERNAL_SERVER_ERROR, {"X-Request-ID": request_id}
    return _problem(request, status, "internal_error", detail, headers=headers)


def _problem(
    request: Request,
    status: HTTPStatus,
    code: str,
    detail: str,
    fields: Sequence[ProblemField] | None = None,
    headers: Mapping[str, str] | None = None,
) -> Response:
    problem = Problem(
        type=f"urn:crewserve:problem:{code}",
        title=status.phrase,
        status=status,
        detail=detail,
        code=code,
        instance=request.url.path,
        request_id=request_id_of(request.scope),
        errors=None if fields is None else list(fields),
    )
    return Response(problem.model_dump_json(), status, headers, media_type=MEDIA_TYPE)
