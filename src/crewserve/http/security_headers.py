"""What every answer tells a browser not to do with it."""

from typing import Final

from starlette.types import ASGIApp, Message, Receive, Scope, Send

POLICY: Final = b"content-security-policy"

ALWAYS: Final = {
    b"x-content-type-options": b"nosniff",
    b"x-frame-options": b"DENY",
    b"referrer-policy": b"no-referrer",
    POLICY: b"default-src 'none'; frame-ancestors 'none'",
}
"""A page that needs more says so itself."""

ENCRYPTED: Final = {**ALWAYS, b"strict-transport-security": b"max-age=31536000"}


class SecurityHeaders:
    """ASGI middleware, outside of all others: errors of the server have these headers as well."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        wanted = ENCRYPTED if scope.get("scheme") == "https" else ALWAYS

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = message.setdefault("headers", [])
                said = {name for name, _ in headers}
                headers += [(name, wanted[name]) for name in wanted if name not in said]
            await send(message)

        await self._app(scope, receive, send_with_headers)
