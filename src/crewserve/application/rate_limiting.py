"""Keeping those who ask to their limits."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from crewserve.domain.access_errors import TooManyRequests
from crewserve.domain.principal import Principal
from crewserve.domain.rate_limit import Bucket, RateLimit, What, Who, longest, take

FEW: Final = 1000
"""Buckets that are kept before those that are full again are looked for."""


@dataclass(slots=True, eq=False)
class RateLimiting:
    """The buckets of one process."""

    limits: Sequence[RateLimit]
    seconds: Callable[[], float] = time.monotonic
    _full_at: dict[tuple[str, str], float] = field(default_factory=dict)
    _look_at: int = FEW

    def take(self, what: What, address: str, principal: Principal | None = None) -> list[Bucket]:
        """One request from each of its buckets, or from none. Raises: TooManyRequests."""
        owners = _owners(address, principal)
        now = self.seconds()
        taken: dict[tuple[str, str], Bucket] = {}
        for limit in self.limits:
            owner = owners.get(limit.who) if limit.concerns(what) else None
            if owner is not None:
                name = (limit.name, owner)
                taken[name] = take(limit, self._full_at.get(name, now), now)
        buckets = list(taken.values())
        if empty := longest(buckets):
            raise TooManyRequests(empty)
        self._full_at.update({name: bucket.full_at for name, bucket in taken.items()})
        self._forget_full_ones(now)
        return buckets

    def _forget_full_ones(self, now: float) -> None:
        """As if they had never been used; so seldom that it costs a request nothing."""
        if len(self._full_at) >= self._look_at:
            self._full_at = {name: at for name, at in self._full_at.items() if at > now}
            self._look_at = max(FEW, 2 * len(self._full_at))


def _owners(address: str, principal: Principal | None) -> Mapping[Who, str]:
    if principal is None:
        return {Who.ADDRESS: address}
    owners = {Who.ADDRESS: address, Who.TENANT: principal.tenant}
    return {**owners, Who.KEY: principal.key} if principal.key else owners
