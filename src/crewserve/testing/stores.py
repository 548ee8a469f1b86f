"""What the contracts of stores are written with."""

import asyncio
from collections.abc import Awaitable
from concurrent.futures import Future
from typing import Protocol, TypeVar

from crewserve.ports import ExecutionReader, ExecutionStore

T = TypeVar("T")


class Store(ExecutionStore, ExecutionReader, Protocol):
    """Both sides of one database."""


def done(future: Future[T]) -> Awaitable[T]:
    """Wait for the commit."""
    return asyncio.wrap_future(future)
