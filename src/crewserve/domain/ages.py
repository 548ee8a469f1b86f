"""Ages, as people write them."""

import re
from datetime import timedelta
from typing import Final

_UNITS: Final = {"d": "days", "h": "hours", "m": "minutes", "s": "seconds"}
_AGE: Final = re.compile(r"([0-9]{1,6})([dhms])")


def read_age(value: object) -> timedelta:
    """A number and its unit. Raises: ValueError."""
    if isinstance(value, timedelta):
        return value
    found = _AGE.fullmatch(value) if isinstance(value, str) else None
    if not found:
        raise ValueError("it must look like 90d, 12h, 30m or 45s")
    return timedelta(**{_UNITS[found[2]]: int(found[1])})
