"""Waiting for what must not be left half done."""

import asyncio
from collections.abc import Coroutine
from typing import Any


async def to_its_end(duty: Coroutine[Any, Any, None]) -> None:
    """Although whoever waits for it is cancelled meanwhile."""
    task = asyncio.create_task(duty)
    try:
        await asyncio.shield(task)
    finally:
        await asyncio.wait([task])
