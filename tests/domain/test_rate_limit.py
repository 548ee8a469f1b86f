"""Buckets that fill again evenly."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crewserve.domain.rate_limit import RateLimit, What, Who, parse, take

FIVE = RateLimit(Who.KEY, None, 5, 60)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("key:start=60/minute", RateLimit(Who.KEY, What.START, 60, 60)),
        ("tenant=5/day", RateLimit(Who.TENANT, None, 5, 86400)),
        ("address:refused=20/second", RateLimit(Who.ADDRESS, What.REFUSED, 20, 1)),
    ],
)
def test_a_limit_is_written_in_one_word(text: str, expected: RateLimit) -> None:
    assert parse(text) == expected
    assert text.startswith(f"{expected.name}=")


@pytest.mark.parametrize(
    "text", ["", "key", "key=0/minute", "key=5/week", "all=5/minute", "key=-1/day"]
)
def test_what_is_no_limit_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is not like key:start=60/minute"):
        parse(text)


def test_a_full_bucket_gives_all_at_once_and_then_one_after_the_other() -> None:
    full_at, given = 0.0, []
    for _ in range(5):
        given.append(take(FIVE, full_at, 0.0))
        full_at = given[-1].full_at
    assert [one.left for one in given] == [4, 3, 2, 1, 0]
    assert [one.reset_seconds for one in given] == [12, 24, 36, 48, 60]
    refused = take(FIVE, full_at, 0.0)
    assert (refused.left, refused.retry_seconds, refused.full_at) == (0, 12, full_at)
    assert take(FIVE, full_at, 11.9).retry_seconds == 1
    assert take(FIVE, full_at, 12.0).retry_seconds == 0


@given(st.integers(1, 50), st.integers(1, 100), st.lists(st.floats(0, 5), min_size=1, max_size=200))
def test_no_window_ever_has_more_than_twice_the_amount(
    amount: int, seconds: int, pauses: list[float]
) -> None:
    """A full bucket, and what fills again meanwhile."""
    limit, now, full_at, taken = RateLimit(Who.KEY, None, amount, seconds), 0.0, 0.0, []
    for pause in pauses:
        now += pause
        bucket = take(limit, full_at, now)
        full_at = bucket.full_at
        if not bucket.retry_seconds:
            taken.append(now)
            assert 0 <= bucket.left < amount
            assert 0 <= bucket.reset_seconds <= seconds
    for begin in taken:
        assert sum(begin <= one <= begin + seconds for one in taken) <= 2 * amount + 1
