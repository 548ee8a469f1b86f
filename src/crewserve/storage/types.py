"""Column types that mean the same on every database."""

import json
from collections.abc import Callable
from datetime import datetime, timedelta
from functools import partial
from typing import Any, Final

from sqlalchemy import JSON, BigInteger, DateTime, Dialect, Text
from sqlalchemy.types import TypeDecorator, TypeEngine

from crewserve.domain.errors import ValueRefused
from crewserve.domain.query import EPOCH

_MICROSECOND = timedelta(microseconds=1)


_dumps: Final[Callable[[Any], str]] = partial(json.dumps, separators=(",", ":"), allow_nan=False)


def encode_json(value: Any) -> str:
    """As it is kept. Raises: ValueRefused."""
    try:
        return _dumps(value)
    except (TypeError, ValueError, RecursionError) as error:
        raise ValueRefused(str(error)) from error


class UtcDateTime(TypeDecorator[datetime]):
    """An aware UTC time; SQLite, which has no such type, keeps microseconds since 1970."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        return BigInteger() if dialect.name == "sqlite" else DateTime(timezone=True)

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> Any:
        if value is None or dialect.name != "sqlite":
            return value
        return (value - EPOCH) // _MICROSECOND

    def process_result_value(self, value: Any, dialect: Dialect) -> datetime | None:
        if value is None or dialect.name != "sqlite":
            return value  # type: ignore[no-any-return]  # the driver gives a datetime
        return EPOCH + timedelta(microseconds=value)


class JsonValue(TypeDecorator[Any]):
    """JSON data, kept as it was written; None is NULL.

    Text on SQLite, not SQLAlchemy's JSON: that column would have numeric affinity, and SQLite would
    turn the text of a number into a number, and a large one into another. JSON on PostgreSQL, not
    JSONB: that refuses NUL and half characters, sorts keys, and turns 1e300 into an integer.
    """

    impl = Text
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        if dialect.name == "sqlite":
            return Text()
        return JSON(none_as_null=True)

    def process_bind_param(self, value: Any, dialect: Dialect) -> Any:
        if value is None or dialect.name != "sqlite":
            return value
        return encode_json(value)

    def process_result_value(self, value: Any, dialect: Dialect) -> Any:
        return value if value is None or dialect.name != "sqlite" else json.loads(value)
