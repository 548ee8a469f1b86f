"""Who shows an access token of an identity provider (RFC 9068)."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import jwt
from jwt.exceptions import (
    ExpiredSignatureError,
    ImmatureSignatureError,
    InvalidAudienceError,
    InvalidIssuerError,
    MissingRequiredClaimError,
    PyJWTError,
)

from crewserve.domain.access_errors import TokenRefused
from crewserve.domain.ids import Tenant
from crewserve.domain.principal import SCOPE_PATTERN, Principal
from crewserve.domain.realm import DEFAULT_TENANT
from crewserve.http.issuer import ALGORITHMS, Issuer

LEEWAY_SECONDS: Final = 30
"""By which two clocks may differ."""

MAX_LENGTH: Final = 16_384

_REASONS: Final[Mapping[type[PyJWTError], str]] = {
    ExpiredSignatureError: "it has expired",
    ImmatureSignatureError: "its time has not come",
    InvalidAudienceError: "it is not for this server (aud)",
    InvalidIssuerError: "it is of another issuer (iss)",
}

_SCOPE = re.compile(SCOPE_PATTERN)
_TENANT = re.compile(r"[A-Za-z0-9_.-]{1,100}")


@dataclass(frozen=True, slots=True, kw_only=True)
class AccessTokens:
    """Tells who shows a token, by what its issuer says of them."""

    issuer: Issuer
    audience: str
    type: str
    """What the header's `typ` must be, so that an identity token is not taken for one."""
    scope_claim: str
    tenant_claim: str | None
    """Without it, all belong to one tenant."""

    async def principal(self, token: str) -> Principal:
        """Raises: TokenRefused, IssuerUnavailable."""
        header = _header(token)
        if _type_of(header) != self.type.lower():
            raise TokenRefused(f"its type is not {self.type} (typ)")
        if (algorithm := header.get("alg")) not in ALGORITHMS:
            raise TokenRefused("it is not signed with a public key's algorithm (alg)")
        key_id = header.get("kid")
        key = await self.issuer.key(key_id if isinstance(key_id, str) else None, algorithm)
        claims = self._claims(token, key)
        return Principal(
            tenant=self._tenant(claims),
            scopes=scopes_in(claims.get(self.scope_claim)),
        )

    def _claims(self, token: str, key: jwt.PyJWK) -> Mapping[str, Any]:
        try:
            claims: Mapping[str, Any] = jwt.decode(
                token,
                key,
                algorithms=ALGORITHMS,
                audience=self.audience,
                issuer=self.issuer.url,
                leeway=LEEWAY_SECONDS,
                options={"require": ["iss", "aud", "exp", "sub"]},
            )
        except MissingRequiredClaimError as error:
            raise TokenRefused(f"it does not say {error.claim}") from error
        except PyJWTError as error:
            raise TokenRefused(_REASONS.get(type(error), "its signature is wrong")) from error
        except (ValueError, RecursionError) as error:
            raise TokenRefused("it is malformed") from error
        return claims

    def _tenant(self, claims: Mapping[str, Any]) -> Tenant:
        if self.tenant_claim is None:
            return DEFAULT_TENANT
        tenant = claims.get(self.tenant_claim)
        if not isinstance(tenant, str) or not _TENANT.fullmatch(tenant):
            raise TokenRefused(f"its {self.tenant_claim!r} names no tenant")
        return Tenant(tenant)


def scopes_in(claim: object) -> frozenset[str]:
    """Those of ours among a list, or a text with spaces (RFC 8693, section 4.2)."""
    names = claim.split() if isinstance(claim, str) else claim
    if not isinstance(names, list):
        return frozenset()
    return frozenset(name for name in names if isinstance(name, str) and _SCOPE.fullmatch(name))


def _header(token: str) -> Mapping[str, Any]:
    if len(token) > MAX_LENGTH:
        raise TokenRefused(f"it has over {MAX_LENGTH} characters")
    try:
        return jwt.get_unverified_header(token)
    except (PyJWTError, ValueError, RecursionError) as error:
        raise TokenRefused("it is malformed") from error


def _type_of(header: Mapping[str, Any]) -> str:
    """`application/` may be left out (RFC 7515, section 4.1.9)."""
    return str(header.get("typ", "")).lower().removeprefix("application/")
