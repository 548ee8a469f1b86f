"""Clients of an API without processes."""

from collections.abc import AsyncIterator

import httpx
import pytest

from tests.support.api import Bench, a_bench


@pytest.fixture
def bench() -> Bench:
    return a_bench()


@pytest.fixture
async def api(bench: Bench) -> AsyncIterator[httpx.AsyncClient]:
    transport = httpx.ASGITransport(bench.app, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://test/api/v1") as client:
        yield client
