"""API keys in a dict."""

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import replace
from datetime import datetime
from typing import TypeVar

from crewserve.domain.access_errors import ApiKeyNotFound
from crewserve.domain.api_key import ApiKey
from crewserve.domain.ids import KeyId

T = TypeVar("T")


class MemoryApiKeys:
    """`ApiKeyStore`, as part of a store that has transactions."""

    _api_keys: dict[KeyId, ApiKey]

    def _transaction(self, run: Callable[[], T]) -> Future[T]:
        raise NotImplementedError

    def add_api_key(self, key: ApiKey) -> Future[None]:
        return self._transaction(lambda: self._api_keys.update({key.id: key}))

    def end_api_key(self, key_id: KeyId, *, at: datetime) -> Future[ApiKey]:
        def run() -> ApiKey:
            key = self._find_api_key(key_id)
            ended = min(at, key.revoked_at or at)
            self._api_keys[key_id] = replace(key, revoked_at=ended)
            return self._api_keys[key_id]

        return self._transaction(run)

    def note_uses(self, uses: Mapping[KeyId, datetime]) -> Future[None]:
        def run() -> None:
            for key_id, used in uses.items():
                if key := self._api_keys.get(key_id):
                    last = max(used, key.last_used_at or used)
                    self._api_keys[key_id] = replace(key, last_used_at=last)

        return self._transaction(run)

    async def api_key(self, key_id: KeyId) -> ApiKey:
        return self._find_api_key(key_id)

    async def api_keys(self, *, limit: int, after: KeyId | None = None) -> Sequence[ApiKey]:
        found = [key for key_id, key in sorted(self._api_keys.items()) if key_id > (after or "")]
        return found[:limit]

    def _find_api_key(self, key_id: KeyId) -> ApiKey:
        if key_id not in self._api_keys:
            raise ApiKeyNotFound(key_id)
        return self._api_keys[key_id]
