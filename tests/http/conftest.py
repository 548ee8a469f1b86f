"""Clients of an API without processes."""

from collections.abc import AsyncIterator

import httpx
import pytest

from tests.support.api import Bench, a_bench, api_of


@pytest.fixture
def bench() -> Bench:
    return a_bench()


@pytest.fixture
async def api(bench: Bench) -> AsyncIterator[httpx.AsyncClient]:
    async with api_of(bench) as client:
        yield client
