"""Telling who shows an API key, without asking the database each time."""

import asyncio
import logging
import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from typing import Final

from crewserve.domain.access_errors import ApiKeyNotFound, KeyRefused
from crewserve.domain.api_key import ApiKey, id_of, is_of
from crewserve.domain.errors import StorageUnavailable
from crewserve.domain.ids import KeyId
from crewserve.domain.principal import Principal
from crewserve.ports import ApiKeyStore, Clock

HEARD_WITHIN: Final = 5.0
"""Seconds after which every process has heard that a key was revoked; twice as many while the
database does not answer."""

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
    _reading: "dict[KeyId, asyncio.Task[_Known]]" = field(default_factory=dict)
    _used: dict[KeyId, datetime] = field(default_factory=dict)

    async def principal(self, token: str) -> Principal:
        """Raises: KeyRefused, StorageUnavailable."""
        key_id = id_of(token)
        if key_id is None:
            raise KeyRefused
        known = await self._know(key_id)
        now = self.clock()
        if not (is_of(known.key, token, self.secret) and known.key.is_good(now)):
            raise KeyRefused
        self._used[key_id] = now
        return known.principal

    async def _know(self, key_id: KeyId) -> _Known:
        """One of those who need it reads; for a while, others are told what was known before."""
        known = self._known.get(key_id)
        age = math.inf if known is None else self.seconds() - known.read_at
        if known is not None and age < HEARD_WITHIN:
            return known
        if reading := self._reading.get(key_id):
            if known is not None and age < 2 * HEARD_WITHIN:
                return known
        else:
            reading = self._reading[key_id] = asyncio.create_task(self._read(key_id))
            reading.add_done_callback(partial(self._have_read, key_id))
        return await asyncio.shield(reading)

    def _have_read(self, key_id: KeyId, reading: "asyncio.Task[_Known]") -> None:
        self._reading.pop(key_id, None)
        if reading.cancelled() or reading.exception() is not None:
            self.forget(key_id)

    async def _read(self, key_id: KeyId) -> _Known:
        read_at = self.seconds()
        try:
            key = await self.store.api_key(key_id)
        except ApiKeyNotFound:
            raise KeyRefused from None
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
