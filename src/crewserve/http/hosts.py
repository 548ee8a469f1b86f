"""Requests that a browser was made to send: under a foreign name, or by a foreign page."""

from collections.abc import Sequence
from fnmatch import fnmatchcase
from functools import lru_cache
from typing import Final
from urllib.parse import urlsplit

from starlette.types import ASGIApp, Receive, Scope, Send

from crewserve.domain.access_errors import HostRefused, OriginRefused
from crewserve.domain.errors import CrewserveError
from crewserve.http import problems
from crewserve.http.addresses import is_address, is_loopback

SAFE: Final = frozenset({"GET", "HEAD", "OPTIONS"})


class Hosts:
    """ASGI middleware.

    A page whose name is made to lead to 127.0.0.1 may read what a server there answers, so one that
    listens there is only asked under a name of this machine, or one that is *allowed*. And a page
    of another origin may send some requests even unasked, so none of them changes anything here,
    but for those of *origins*.
    """

    def __init__(self, app: ASGIApp, *, allowed: Sequence[str], origins: Sequence[str]) -> None:
        """*allowed* are names, with ``*`` for any part of one."""
        self._app = app
        self._allowed = [name.lower() for name in allowed]
        self._origins = frozenset(origins)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        try:
            self._check(scope)
        except CrewserveError as refusal:
            await problems.refuse(refusal, scope, receive, send)
            return
        await self._app(scope, receive, send)

    def _check(self, scope: Scope) -> None:
        """Raises: HostRefused, OriginRefused."""
        headers = dict(scope["headers"])
        authority = headers.get(b"host", b"").decode("latin-1")
        if authority and not self._is_known(_name_of(authority), scope):
            raise HostRefused(authority)
        origin = headers.get(b"origin")
        if origin is None or scope.get("method") in SAFE or _is_own_page(headers):
            return
        if not self._may_change(origin.decode("latin-1"), authority):
            raise OriginRefused(origin.decode("latin-1"))

    def _is_known(self, name: str, scope: Scope) -> bool:
        if _is_of_this_machine(name) or self._is_allowed(name):
            return True
        server = scope.get("server")
        if server and server[0] == name:
            return True  # as probes ask, which know no other name
        is_open = not (server and is_loopback(server[0])) or is_address(name)  # no name, no tricks
        return is_open and not self._allowed

    def _is_allowed(self, name: str) -> bool:
        return any(fnmatchcase(name, pattern) for pattern in self._allowed)

    def _may_change(self, origin: str, authority: str) -> bool:
        if origin in self._origins or "*" in self._origins:
            return True
        place = origin.partition("://")[2].lower()
        return place == authority.lower() or self._is_allowed(_name_of(place))


def _is_own_page(headers: dict[bytes, bytes]) -> bool:
    """Browsers say so, and pages cannot."""
    return headers.get(b"sec-fetch-site") in {b"same-origin", b"none"}


@lru_cache(maxsize=256)
def _name_of(authority: str) -> str:
    """Without the port; empty for what is none."""
    try:
        return urlsplit(f"//{authority}").hostname or ""
    except ValueError:
        return ""


def _is_of_this_machine(name: str) -> bool:
    return name == "localhost" or name.endswith(".localhost") or is_loopback(name)
