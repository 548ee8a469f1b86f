"""The keys with which an identity provider signs, kept as long as they are good.

OpenID Connect Discovery 1.0, section 4; RFC 7517.
"""

import asyncio
import json
import logging
import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import httpx
from jwt import PyJWK

from crewserve.domain.access_errors import IssuerUnavailable, TokenRefused

FRESH_SECONDS: Final = 600.0
"""A key that is no longer published counts for so long."""

KEPT_SECONDS: Final = 86_400.0
"""While the provider is away, the keys that were read last count for so long."""

PAUSE_SECONDS: Final = 10.0
"""Between two questions, whatever is sent to us: strangers can invent key ids."""

MAX_BYTES: Final = 1_048_576
TIMEOUT_SECONDS: Final = 10.0

log = logging.getLogger(__name__)


ALGORITHMS: Final = ("RS256", "RS384", "RS512", "PS256", "ES256", "ES384", "ES512", "EdDSA")
"""Those with a public key: a token cannot choose one for which we would take it as a secret."""

_KINDS: Final[Mapping[str, Collection[str]]] = {
    "RSA": ("RS256", "RS384", "RS512", "PS256"),
    "EC": (),
    "OKP": (),
}
"""Of keys, with the algorithms of those whose curve does not decide."""

Keys = Mapping[tuple[str | None, str], PyJWK]
"""By id and algorithm."""


class _Unusable(Exception):
    """What the provider answered."""


@dataclass(slots=True, eq=False, kw_only=True)
class Issuer:
    """One identity provider, by the URL that its tokens name."""

    url: str
    client: httpx.AsyncClient
    seconds: Callable[[], float] = time.monotonic
    _keys: Keys = field(default_factory=dict)
    _read_at: float = float("-inf")
    _asked_at: float = float("-inf")
    _asking: "asyncio.Task[None] | None" = None

    async def key(self, key_id: str | None, algorithm: str) -> PyJWK:
        """Raises: TokenRefused, when it has none of this id for that; IssuerUnavailable."""
        wanted = (key_id, algorithm)
        if wanted not in self._keys or self._age() >= 2 * FRESH_SECONDS:
            if asking := self._ask():
                await asyncio.shield(asking)
        elif self._age() >= FRESH_SECONDS:
            self._ask()  # nobody waits for it
        if self._age() >= KEPT_SECONDS:
            raise IssuerUnavailable
        if wanted not in self._keys:
            raise TokenRefused(f"its issuer publishes no such key for {algorithm}")
        return self._keys[wanted]

    def _age(self) -> float:
        return self.seconds() - self._read_at

    async def close(self) -> None:
        """Stop asking."""
        if self._asking is not None:
            self._asking.cancel()
            await asyncio.wait([self._asking])
        await self.client.aclose()

    def _ask(self) -> "asyncio.Task[None] | None":
        """The question that is under way, perhaps since now; None, when it is too soon for one."""
        if self._asking is not None and not self._asking.done():
            return self._asking
        if self.seconds() - self._asked_at < PAUSE_SECONDS:
            return None
        self._asking = asyncio.create_task(self._read(), name="keys of the issuer")
        return self._asking

    async def _read(self) -> None:
        try:
            async with asyncio.timeout(TIMEOUT_SECONDS):
                url = f"{self.url.rstrip('/')}/.well-known/openid-configuration"
                uri = _jwks_uri(await self._json(url), self.url)
                self._keys = _keys_in(await self._json(uri))
            self._read_at = self.seconds()
        except Exception as error:  # noqa: BLE001  # whatever it answers is no fault of who asks us
            reason = str(error) or type(error).__name__
            log.warning("The keys of %s cannot be read: %s", self.url, reason)
        self._asked_at = self.seconds()

    async def _json(self, url: str) -> dict[str, Any]:
        content = b""
        async with self.client.stream("GET", url) as answer:
            if answer.status_code != httpx.codes.OK:
                raise _Unusable(f"{url} answered {answer.status_code}")
            async for part in answer.aiter_bytes():
                content += part
                if len(content) > MAX_BYTES:
                    raise _Unusable(f"{url} has over {MAX_BYTES} bytes")
        try:
            document = json.loads(content)
        except (ValueError, RecursionError):
            document = None
        if not isinstance(document, dict):
            raise _Unusable(f"{url} is no JSON object")
        return document


def is_private_or_https(url: str) -> bool:
    """Whether what is read from *url* cannot have been changed on its way."""
    try:
        parsed = httpx.URL(url)
    except httpx.InvalidURL:
        return False
    return parsed.scheme == "https" or (
        parsed.scheme == "http" and parsed.host in {"127.0.0.1", "localhost", "::1"}
    )


def _jwks_uri(found: Mapping[str, Any], issuer: str) -> str:
    if found.get("issuer") != issuer:
        raise _Unusable(f"it calls itself {found.get('issuer')!r}")
    uri = found.get("jwks_uri")
    if not isinstance(uri, str) or not is_private_or_https(uri):
        raise _Unusable("its jwks_uri is no https URL")
    return uri


def _keys_in(document: Mapping[str, Any]) -> Keys:
    """A single key is also that of tokens that name none."""
    found = document.get("keys")
    published = [data for data in found if _is_usable(data)] if isinstance(found, list) else []
    keys = {
        (key_id, algorithm): PyJWK(data, algorithm)
        for data in published
        for algorithm in _algorithms_of(data)
        for key_id in ({data.get("kid"), None} if len(published) == 1 else {data.get("kid")})
    }
    if not keys:
        raise _Unusable("it publishes no key that we can use")
    return keys


def _is_usable(data: object) -> bool:
    """A symmetric key would let whoever can check tokens make them."""
    if not isinstance(data, dict) or data.get("kty") not in _KINDS:
        return False
    return data.get("use", "sig") == "sig" and data.get("alg", ALGORITHMS[0]) in ALGORITHMS


def _algorithms_of(data: Mapping[str, Any]) -> Collection[str]:
    """What the key says, or else what keys of its kind and curve can do."""
    if "alg" in data:
        return [data["alg"]]
    return _KINDS[data["kty"]] or [PyJWK(dict(data)).algorithm_name]
