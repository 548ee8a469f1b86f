"""Who asks, and whether that one may: decided before anything else of a request is read."""

from collections.abc import Awaitable, Callable, Iterable, Sequence
from contextvars import ContextVar
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final, NamedTuple

from fastapi import Request
from starlette.routing import Match
from starlette.types import ASGIApp, Receive, Scope, Send

from crewserve.application.key_ring import KeyRing
from crewserve.application.rate_limiting import RateLimiting
from crewserve.domain import principal as scopes
from crewserve.domain.access_errors import KeyRefused, KeyRequired, ScopeMissing, TokenRefused
from crewserve.domain.errors import CrewserveError
from crewserve.domain.principal import ANYBODY, NOBODY, Principal
from crewserve.domain.rate_limit import Bucket, What
from crewserve.http import problems
from crewserve.http.addresses import is_loopback
from crewserve.http.rate_headers import telling
from crewserve.http.scopes import Needs, Rule, Rules

_KEY: Final = "crewserve.principal"

Headers = Iterable[tuple[bytes, bytes]]
JudgeToken = Callable[[str], Awaitable[Principal]]
"""Tells who shows it. Raises: TokenRefused, IssuerUnavailable."""

PARTING_DOTS: Final = 2
"""In every signed JWT, and in no API key."""

STARTING: Final = frozenset({"retry", "fork"})

FORWARDED: Final = frozenset(
    {b"forwarded", b"via", b"x-real-ip", b"x-client-ip", b"true-client-ip", b"cf-connecting-ip"}
)
"""Proxies say with these, and with `X-Forwarded-...`, that somebody else asks."""

asking: ContextVar[Principal | None] = ContextVar("asking", default=None)
"""For code of the user's, which is not given the request."""


class Auth(StrEnum):
    """Who needs a key."""

    AUTO = "auto"
    """All but those who ask from this machine itself."""
    NONE = "none"
    REQUIRED = "required"


@dataclass(frozen=True, slots=True)
class Access:
    """Tells who asks."""

    auth: Auth
    keys: KeyRing
    judge_token: JudgeToken | None = None
    """For access tokens of an identity provider, if there is one."""
    limiting: RateLimiting | None = None
    """For whoever is not let in as a program of this machine."""

    async def principal(self, scope: Scope) -> Principal:
        """Raises: KeyRefused, KeyRequired, TokenRefused, IssuerUnavailable, StorageUnavailable."""
        if self.auth is Auth.NONE:
            return ANYBODY
        token = token_in(scope["headers"])
        if token is not None:
            if self.judge_token is not None and token.count(".") == PARTING_DOTS:
                return await self.judge_token(token)
            return await self.keys.principal(token)
        if self.auth is Auth.AUTO and is_of_this_machine(scope):
            return ANYBODY
        raise KeyRequired

    async def admit(self, scope: Scope, rule: Rule | None) -> "Admitted":
        """Raises what `principal` does; ScopeMissing, TooManyRequests."""
        address = scope["client"][0] if scope.get("client") else ""
        try:
            principal = await self.principal(scope)
        except (KeyRefused, TokenRefused):
            if self.limiting is not None:
                self.limiting.take(What.REFUSED, address)
            raise
        buckets: Sequence[Bucket] = ()
        if self.limiting is not None and not self._is_trusted(principal, scope):
            buckets = self.limiting.take(_what(scope, rule), address, principal)
        if missing := _missing(principal, rule, scope):
            raise ScopeMissing(missing)
        return Admitted(principal, buckets)

    def _is_trusted(self, principal: Principal, scope: Scope) -> bool:
        is_open = principal is ANYBODY
        return is_open and (self.auth is Auth.AUTO or is_of_this_machine(scope))


def token_in(headers: Headers) -> str | None:
    """The one key that is shown, if any. Raises: KeyRefused, when there are several, or no key."""
    found: set[bytes] = set()
    for name, value in headers:
        if name == b"x-api-key":
            found.add(value.strip())
        elif name == b"authorization":
            kind, _, credentials = value.partition(b" ")
            found.add(credentials.strip() if kind.lower() == b"bearer" else b"")
    if not found:
        return None
    if len(found) > 1:
        raise KeyRefused
    return found.pop().decode("latin-1")


def is_of_this_machine(scope: Scope) -> bool:
    """Whether the peer is a program of this machine that asks for itself."""
    client = scope.get("client")
    if client is None or not is_loopback(client[0]):
        return False
    return not any(
        name in FORWARDED or name.startswith(b"x-forwarded-") for name, _ in scope["headers"]
    )


class Admitted(NamedTuple):
    """Who asks, and how often that one may still ask."""

    principal: Principal
    buckets: Sequence[Bucket]


def _what(scope: Scope, rule: Rule | None) -> What:
    """Retries and forks start something too."""
    if rule is not None and (rule.need is Needs.EXECUTE or rule.segments[-1] in STARTING):
        return What.START
    return What.READ if scope.get("method", "GET") in ("GET", "HEAD") else What.CHANGE


class Gate:
    """ASGI middleware. What it lets through has a principal."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        try:
            principal, buckets = await _admit(scope)
        except CrewserveError as refusal:
            await problems.refuse(refusal, scope, receive, send)
            return
        scope[_KEY] = principal
        token = asking.set(principal)
        try:
            await self._app(scope, receive, telling(buckets, send))
        finally:
            asking.reset(token)


async def _admit(scope: Scope) -> Admitted:
    """Raises what `Access.admit` does."""
    app: Any = scope["app"]
    rule = _rule(app.rules, scope)
    if rule is not None and rule.need is Needs.NOTHING:
        return Admitted(NOBODY, ())
    access: Access = app.state.crewserve.access
    return await access.admit(scope, rule)


def _rule(rules: Rules, scope: Scope) -> Rule | None:
    method = scope.get("method", "GET")
    return rules.find(
        "GET" if method == "HEAD" else method,
        scope["path"].removeprefix(scope.get("root_path", "")),
    )


def _missing(principal: Principal, rule: Rule | None, scope: Scope) -> str | None:
    """The scope that *principal* lacks. A path that leads nowhere is told to whoever has a key."""
    if principal.is_admin and not principal.flows:
        return None
    match rule:
        case None:
            is_free = principal.is_admin or _leads_nowhere(scope)
            return None if is_free else scopes.Scope.ADMIN
        case Rule(need=Needs.ANY_KEY):
            return None
        case Rule(need=Needs.EXECUTE, flow=flow) if flow is not None:
            return None if principal.may_execute(flow) else scopes.execute_scope(flow)
        case _:
            needed = str(rule.need.value)
            return None if principal.has(needed) else needed


def _leads_nowhere(scope: Scope) -> bool:
    return not any(route.matches(scope)[0] is Match.FULL for route in scope["app"].routes)


def principal_of(request: Request) -> Principal:
    """Who asks."""
    found: Principal = request.scope[_KEY]
    return found
