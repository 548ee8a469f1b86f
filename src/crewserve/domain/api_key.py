"""API keys: `csk_<id>_<secret>`. The id is shown, the secret is told once and kept nowhere."""

import hmac
import re
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from secrets import token_hex, token_urlsafe
from typing import Final

from crewserve.domain.ids import FlowName, KeyId, Tenant
from crewserve.domain.principal import Principal
from crewserve.domain.realm import DEFAULT_TENANT

LIFETIME: Final = timedelta(days=90)
"""Unless another one is asked for."""

_TOKEN: Final = re.compile(r"csk_([0-9a-f]{12})_[A-Za-z0-9_-]{43}")
"""The secret has 256 bits."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiKey:
    """What is kept of a key."""

    id: KeyId
    name: str
    """For people."""
    tenant: Tenant = DEFAULT_TENANT
    scopes: frozenset[str]
    flows: frozenset[FlowName] = frozenset()
    """The only ones that exist for it; none: all of them."""
    digest: str = field(repr=False)
    """See `digest_of`."""
    created_at: datetime
    expires_at: datetime | None
    revoked_at: datetime | None = None
    """From then on it counts no more; that may be later than now."""
    last_used_at: datetime | None = None
    """To the minute."""

    def is_good(self, now: datetime) -> bool:
        """Whether it counts."""
        return all(end is None or now < end for end in (self.expires_at, self.revoked_at))

    @property
    def principal(self) -> Principal:
        """Who shows it."""
        return Principal(tenant=self.tenant, scopes=self.scopes, flows=self.flows, key=self.id)


def new_token() -> str:
    """A key that nobody had before."""
    return f"csk_{token_hex(6)}_{token_urlsafe(32)}"


def id_of(token: str) -> KeyId | None:
    """None for what is no key."""
    found = _TOKEN.fullmatch(token)
    return None if found is None else KeyId(found[1])


def digest_of(token: str, secret: bytes) -> str:
    """HMAC-SHA256, so that who reads the database alone can neither use nor check a guess."""
    return hmac.digest(secret, token.encode(), "sha256").hex()


def is_of(key: ApiKey, token: str, secret: bytes) -> bool:
    """Whether *token* is that key, in the same time whatever it is."""
    return hmac.compare_digest(key.digest, digest_of(token, secret))
