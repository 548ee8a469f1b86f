"""Waiting for what another process does, without guessing how long it takes."""

import time
from collections.abc import Callable
from typing import Final, TypeVar

T = TypeVar("T")

A_WHILE: Final = 120.0
"""Seconds that nothing here needs on a healthy machine, not even a busy one with two cores."""

PAUSE: Final = 0.05


def eventually(probe: Callable[[], T | None], *, within: float = A_WHILE, what: str = "") -> T:
    """The first truthy answer of *probe*. Raises TimeoutError when there is none in time."""
    deadline = time.monotonic() + within
    while not (answer := probe()):
        if time.monotonic() > deadline:
            raise TimeoutError(f"Not within {within:g} s: {what or probe}; last: {answer!r}")
        time.sleep(PAUSE)
    return answer
