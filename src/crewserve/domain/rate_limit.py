"""How often somebody may ask: buckets that fill again evenly (the generic cell rate algorithm).

A bucket is one moment: the one at which it will be full. So taking from it is arithmetic, wherever
it is kept.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from math import ceil
from typing import Final, NamedTuple


class Who(StrEnum):
    """Whose bucket it is."""

    ADDRESS = "address"
    KEY = "key"
    TENANT = "tenant"


class What(StrEnum):
    """What is asked for."""

    READ = "read"
    CHANGE = "change"
    START = "start"
    """An execution begins, if it may."""
    REFUSED = "refused"
    """Requests whose credentials do not count, of one address."""


SECONDS: Final = {"second": 1, "minute": 60, "hour": 3600, "day": 86400}

_WRITTEN: Final = re.compile(
    rf"(address|key|tenant)(?::({'|'.join(What)}))?=([1-9]\d{{0,8}})/({'|'.join(SECONDS)})"
)


@dataclass(frozen=True, slots=True)
class RateLimit:
    """A bucket for each of them."""

    who: Who
    what: What | None
    """None: all that is not refused."""
    amount: int
    """Requests in a full bucket."""
    seconds: int
    """An empty one is full after so long."""

    @property
    def name(self) -> str:
        return f"{self.who}:{self.what}" if self.what else str(self.who)

    def concerns(self, what: What) -> bool:
        """Whether such a request is taken from its buckets."""
        return self.what is what or (self.what is None and what is not What.REFUSED)


def parse(text: str) -> RateLimit:
    """*text* is like ``key:start=60/minute``. Raises ValueError."""
    found = _WRITTEN.fullmatch(text)
    if found is None:
        raise ValueError(f"{text!r} is not like key:start=60/minute")
    who, what, amount, unit = found.groups()
    return RateLimit(Who(who), What(what) if what else None, int(amount), SECONDS[unit])


class Bucket(NamedTuple):
    """What is in a bucket after somebody took from it, or could not."""

    limit: RateLimit
    full_at: float
    left: int
    reset_seconds: int
    """Until it is full."""
    retry_seconds: int
    """Until there is one again; 0 when there was."""


def take(limit: RateLimit, full_at: float, now: float) -> Bucket:
    """One from the bucket that would be full at *full_at*; it stays as it is when it is empty."""
    each = limit.seconds / limit.amount
    after = max(full_at, now) + each
    missing = after - now - limit.seconds
    if missing > each * 1e-6:  # else it cannot be told from zero
        return Bucket(limit, full_at, 0, _whole(full_at - now), max(1, _whole(missing)))
    left = int((limit.seconds - (after - now)) / each + 1e-6)
    return Bucket(limit, after, left, _whole(after - now), 0)


def _whole(seconds: float) -> int:
    return ceil(seconds - 1e-6)


def longest(buckets: Sequence[Bucket]) -> Bucket | None:
    """The empty one that is waited for longest, if any is empty."""
    empty = [bucket for bucket in buckets if bucket.retry_seconds]
    return max(empty, key=lambda bucket: bucket.retry_seconds, default=None)
