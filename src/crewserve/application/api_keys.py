"""What an operator can do with API keys, whatever the transport."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final, NamedTuple

from crewserve.application.auditing import Auditing
from crewserve.domain.access_errors import ApiKeyEnded
from crewserve.domain.api_key import LIFETIME, ApiKey, digest_of, id_of, new_token
from crewserve.domain.audit import Action
from crewserve.domain.ids import FlowName, KeyId, Tenant
from crewserve.domain.principal import Principal, Scope
from crewserve.domain.realm import DEFAULT_TENANT
from crewserve.ports import ApiKeyStore, Clock

PAGE: Final = 1000


class NewKey(NamedTuple):
    """A key at the only moment at which it can be told."""

    key: ApiKey
    token: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Grant:
    """What a new key shall be."""

    name: str
    scopes: frozenset[str]
    tenant: Tenant = DEFAULT_TENANT
    flows: frozenset[FlowName] = frozenset()
    lifetime: timedelta | None
    """None: it never expires."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiKeys:
    """Create, list, revoke, rotate."""

    store: ApiKeyStore
    secret: bytes
    """What digests are made with."""
    forget: Callable[[KeyId], object] = lambda _: None
    """Called with what has changed."""
    clock: Clock
    audit: Auditing

    def of(self, principal: Principal) -> "ApiKeys":
        """The same for somebody else."""
        return replace(self, audit=self.audit.of(principal))

    async def create(self, grant: Grant) -> NewKey:
        """Raises: StorageUnavailable."""
        token, now = new_token(), self.clock()
        key = ApiKey(
            id=id_of(token) or KeyId(""),
            name=grant.name,
            tenant=grant.tenant,
            scopes=grant.scopes,
            flows=grant.flows,
            digest=digest_of(token, self.secret),
            created_at=now,
            expires_at=None if grant.lifetime is None else now + grant.lifetime,
        )
        await asyncio.wrap_future(self.store.add_api_key(key))
        told = {"name": key.name, "tenant": key.tenant, "scopes": sorted(key.scopes)}
        await self.audit.note(Action.KEY_CREATED, key.id, **told)
        return NewKey(key, token)

    async def page(self, *, limit: int, after: KeyId | None = None) -> Sequence[ApiKey]:
        """By id, also those that count no more."""
        return await self.store.api_keys(limit=limit, after=after)

    async def revoke(self, key_id: KeyId, *, after: timedelta = timedelta()) -> ApiKey:
        """Raises: ApiKeyNotFound, StorageUnavailable."""
        ended = self.store.end_api_key(key_id, at=self.clock() + after)
        key = await asyncio.wrap_future(ended)
        self.forget(key_id)
        await self.audit.note(Action.KEY_REVOKED, key_id, after_seconds=after.total_seconds())
        return key

    async def rotate(self, key_id: KeyId, *, overlap: timedelta = timedelta()) -> NewKey:
        """Another key that is good for the same; the old one ends after *overlap*.

        Raises: ApiKeyEnded, ApiKeyNotFound, StorageUnavailable.
        """
        old = await self.store.api_key(key_id)
        if not old.is_good(self.clock()):
            raise ApiKeyEnded(key_id)
        lifetime = None if old.expires_at is None else old.expires_at - old.created_at
        made = await self.create(
            Grant(
                name=old.name,
                scopes=old.scopes,
                tenant=old.tenant,
                flows=old.flows,
                lifetime=lifetime,
            )
        )
        await self.revoke(key_id, after=overlap)
        return made

    async def has_good(self, now: datetime) -> bool:
        """Whether there is any key that counts."""
        after: KeyId | None = None
        while page := await self.page(limit=PAGE, after=after):
            if any(key.is_good(now) for key in page):
                return True
            after = page[-1].id
        return False

    async def create_first(self) -> NewKey | None:
        """One for the operator, unless some key counts already."""
        if await self.has_good(self.clock()):
            return None
        scopes = frozenset({str(Scope.ADMIN)})
        return await self.create(Grant(name="first", scopes=scopes, lifetime=LIFETIME))
