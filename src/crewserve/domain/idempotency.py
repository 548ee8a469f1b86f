"""Asking twice for the same start, which must happen once."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, NamedTuple

from crewserve.domain.ids import ExecutionId, FlowName

KEPT: Final = timedelta(hours=24)
"""How long a key is remembered; afterwards it may be used for something else."""


@dataclass(frozen=True, slots=True, kw_only=True)
class IdempotencyKey:
    """The name that a client gave to one request, to be able to send it again."""

    value: str
    fingerprint: str
    """Of everything in the request that decides what it starts."""
    scope: str = ""
    """Whose key it is, a tenant's: the same value in another scope is another key."""


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyedStart:
    """What a request with a key has started. It outlives its execution."""

    fingerprint: str
    execution: ExecutionId
    flow: FlowName
    created_at: datetime


class Started(NamedTuple):
    """What the answer to a start is made of, so that it can be given again."""

    id: ExecutionId
    flow: FlowName
    replayed: bool
    """It was started by an earlier request with the same key."""
