"""Refusing request bodies that are too large or come too slowly, as a problem document.

Starlette's own limit answers in plain text; an `HTTPException` raised while the body is read
reaches the handler that writes problems.
"""

import asyncio
from http import HTTPStatus
from typing import Final

from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

SECONDS: Final = 30.0
"""Within which a body must have come. A client that sends it byte by byte holds a connection."""


class BodyLimit:
    """ASGI middleware."""

    def __init__(self, app: ASGIApp, *, max_bytes: int, seconds: float = SECONDS) -> None:
        self._app = app
        self._max_bytes = max_bytes
        self._seconds = seconds

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        left = self._max_bytes
        announced = _content_length(scope)
        deadline = asyncio.get_running_loop().time() + self._seconds
        is_whole = False

        async def receive_within_limit() -> Message:
            nonlocal left, is_whole
            if announced > self._max_bytes:
                raise self._too_large()
            message = await (receive() if is_whole else self._soon(receive, deadline))
            is_whole = not message.get("more_body", False)
            left -= len(message.get("body", b""))
            if left < 0:
                raise self._too_large()
            return message

        await self._app(scope, receive_within_limit, send)

    async def _soon(self, receive: Receive, deadline: float) -> Message:
        try:
            async with asyncio.timeout_at(deadline):
                return await receive()
        except TimeoutError:
            raise HTTPException(
                HTTPStatus.REQUEST_TIMEOUT,
                f"The body did not come within {self._seconds:.0f} seconds",
                headers={"Connection": "close"},
            ) from None

    def _too_large(self) -> HTTPException:
        return HTTPException(
            HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
            f"The body is larger than {self._max_bytes} bytes, which is all this server takes",
            headers={"Connection": "close"},
        )


def _content_length(scope: Scope) -> int:
    for name, value in scope["headers"]:
        if name == b"content-length" and value.isdigit():
            return int(value)
    return 0
