"""Telling who shows an API key, without asking the database each time."""

import asyncio
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from crewserve.domain.access_errors import ApiKeyNotFound, KeyRefused
from crewserve.domain.api_key import ApiKey, id_of, is_of
from crewserve.domain.errors import StorageUnavailable
from crewserve.domain.ids import KeyId
from crewserve.domain.principal import Principal
from crewserve.ports import ApiKeyStore, Clock

HEARD_WITHIN: Final = 5.0
"""Seconds after which every process has heard that a key was revoked."""

NOTED_EVERY: Final = 60.0
"""Seconds between two notes of what was used."""

MAX_KNOWN: Final = 10_000

log = logging.getLogger(__name__)


@dataclass(slots=True)
class _Known:
    key: ApiKey
    principal: Principal
    read_at: float


@dataclass(slots=True, eq=False, kw_only=True)
class KeyRing:
    """Knows the keys that were shown in the last seconds."""

    store: ApiKeyStore
    secret: bytes
    clock: Clock
    seconds: Callable[[], float] = time.monotonic
    _known: dict[KeyId, _Known] = field(default_factory=dict)
    _used: dict[KeyId, datetime] = field(default_factory=dict)

    async def principal(self, token: str) -> Principal:
        """Raises: KeyRefused, StorageUnavailable."""
        key_id = id_of(token)
        if key_id is None:
            raise KeyRefused
        known = self._known.get(key_id)
        if known is None or self.seconds() - known.read_at >= HEARD_WITHIN:
            known = await self._read(key_id, known)
        now = self.clock()
        if not (is_of(known.key, token, self.secret) and known.key.is_good(now)):
            raise KeyRefused
        self._used[key_id] = now
        return known.principal

    async def _read(self, key_id: KeyId, before: _Known | None) -> _Known:
        """Whoever shows the key meanwhile is told by what was known before."""
        read_at = self.seconds()
        if before is not None:
            before.read_at = read_at
        try:
            key = await self.store.api_key(key_id)
        except ApiKeyNotFound:
            self.forget(key_id)
            raise KeyRefused from None
        except BaseException:
            self.forget(key_id)
            raise
        if len(self._known) >= MAX_KNOWN:
            self._known.clear()
        known = self._known[key_id] = _Known(key, key.principal, read_at)
        return known

    def forget(self, key_id: KeyId) -> None:
        """It has changed."""
        self._known.pop(key_id, None)

    async def keep(self) -> None:
        """Note what was used, until cancelled."""
        while True:
            await asyncio.sleep(NOTED_EVERY)
            await self.note()

    async def note(self) -> None:
        """What cannot be written now is written later."""
        used, self._used = self._used, {}
        if not used:
            return
        try:
            await asyncio.wrap_future(self.store.note_uses(used))
        except StorageUnavailable as error:
            log.error("%s; when keys were used is noted later", error)
            self._used = {**used, **self._used}
