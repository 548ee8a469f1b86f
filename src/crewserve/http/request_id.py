"""`X-Request-ID`: the caller's, or one of ours, on every answer, problem and line of the log."""

import os
import re
from typing import Final

from starlette.types import ASGIApp, Message, Receive, Scope, Send
from structlog.contextvars import bound_contextvars

HEADER: Final = b"x-request-id"
_KEY: Final = "crewserve.request_id"
_ACCEPTABLE: Final = re.compile(rb"[\w.:+=/-]{1,128}")


class RequestIds:
    """ASGI middleware."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        given = next((value for name, value in scope["headers"] if name == HEADER), b"")
        request_id = given if _ACCEPTABLE.fullmatch(given) else os.urandom(16).hex().encode()
        scope[_KEY] = request_id.decode()

        async def send_with_id(message: Message) -> None:
            if message["type"] == "http.response.start":
                message.setdefault("headers", []).append((HEADER, request_id))
            await send(message)

        with bound_contextvars(request_id=scope[_KEY]):
            await self._app(scope, receive, send_with_id)


def request_id_of(scope: Scope) -> str | None:
    """The id of this request; None outside the middleware."""
    found: str | None = scope.get(_KEY)
    return found
