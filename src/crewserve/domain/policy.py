"""How often and how long an execution may try, and what it may use."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final

from crewserve.domain import budget
from crewserve.domain.budget import NO_BUDGET, Budget
from crewserve.domain.failure import FailureCode

MAX_BACKOFF_SECONDS: Final = 300.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """What an execution may take. The default tries again after a crash, and only then."""

    max_attempts: int = 3
    retry_on: frozenset[FailureCode] = frozenset({FailureCode.WORKER_LOST})
    """Failures after which another attempt may follow."""
    backoff_seconds: float = 1.0
    """Before the second attempt; doubles with each one after, up to `MAX_BACKOFF_SECONDS`."""
    timeout_seconds: float | None = None
    """How long one attempt may run."""
    budget: Budget = NO_BUDGET

    def may_retry(self, code: FailureCode, *, attempt: int) -> bool:
        """Whether another attempt follows when number *attempt* failed with *code*.

        Never when the budget is used up: what is used, stays so.
        """
        is_wanted = code in self.retry_on and code is not FailureCode.BUDGET_EXCEEDED
        return is_wanted and attempt < self.max_attempts

    def delay(self, attempt: int, *, jitter: float) -> timedelta:
        """From the failure of number *attempt* to the next one.

        *jitter* in [0, 1] takes up to half of it away, so that what failed together does not come
        back together.
        """
        seconds = min(self.backoff_seconds * 2 ** min(attempt - 1, 32), MAX_BACKOFF_SECONDS)
        return timedelta(seconds=seconds * (1 - jitter / 2))


DEFAULT: Final = Policy()


def to_fields(policy: Policy) -> Mapping[str, Any]:
    """As JSON data."""
    limits = budget.to_fields(policy.budget)
    return {
        **({"budget": limits} if limits else {}),
        "max_attempts": policy.max_attempts,
        "retry_on": sorted(policy.retry_on),
        "backoff_seconds": policy.backoff_seconds,
        "timeout_seconds": policy.timeout_seconds,
    }


def from_fields(fields: Mapping[str, Any]) -> Policy:
    """The reverse of `to_fields`."""
    codes = frozenset(FailureCode(code) for code in fields["retry_on"])
    limits = Budget(**fields.get("budget", {}))
    return Policy(**{**fields, "retry_on": codes, "budget": limits})
