"""What every store promises about API keys."""

from datetime import timedelta

import pytest

from crewserve.domain.access_errors import ApiKeyNotFound
from crewserve.domain.ids import FlowName, KeyId, Tenant
from crewserve.testing.builders import NOW, an_api_key
from crewserve.testing.stores import LATER, Store, done

MINUTE = timedelta(minutes=1)
UNKNOWN = KeyId("0" * 12)


class ApiKeysContract:
    """Adding, listing, ending, noting uses."""

    async def test_a_key_is_read_back_whole(self, store: Store) -> None:
        key = an_api_key(
            tenant=Tenant("acme"), flows=frozenset({FlowName("a"), FlowName("b")}), expires_at=None
        )
        for _ in range(2):  # the answer to the first may have been lost
            await done(store.add_api_key(key))
        assert await store.api_key(key.id) == key
        with pytest.raises(ApiKeyNotFound):
            await store.api_key(UNKNOWN)

    async def test_keys_are_listed_by_id_page_by_page(self, store: Store) -> None:
        keys = sorted((an_api_key() for _ in range(3)), key=lambda key: key.id)
        for key in reversed(keys):
            await done(store.add_api_key(key))
        assert await store.api_keys(limit=2) == keys[:2]
        assert await store.api_keys(limit=2, after=keys[1].id) == keys[2:]

    async def test_the_earliest_end_counts(self, store: Store) -> None:
        key = an_api_key()
        await done(store.add_api_key(key))
        for at, expected in ((LATER, LATER), (NOW, NOW), (LATER, NOW)):
            assert (await done(store.end_api_key(key.id, at=at))).revoked_at == expected
        assert (await store.api_key(key.id)).revoked_at == NOW
        with pytest.raises(ApiKeyNotFound):
            await done(store.end_api_key(UNKNOWN, at=NOW))

    async def test_the_latest_use_counts(self, store: Store) -> None:
        used, unused = an_api_key(), an_api_key()
        for key in (used, unused):
            await done(store.add_api_key(key))
        for at in (NOW, NOW + MINUTE, NOW):
            await done(store.note_uses({used.id: at, UNKNOWN: at}))
        await done(store.note_uses({}))
        assert (await store.api_key(used.id)).last_used_at == NOW + MINUTE
        assert (await store.api_key(unused.id)).last_used_at is None
