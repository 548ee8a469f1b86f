"""Values without parts: those that JSON has, and those that are one text.

A function that raises ValueError says what the value is instead of something that can be kept, so
that its text ends a sentence: "text with half a character in it".
"""

import base64
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta, timezone
from decimal import Decimal
from pathlib import PosixPath, PurePosixPath
from types import NoneType
from typing import Any, Final
from uuid import UUID

from pydantic import AnyUrl, HttpUrl
from pydantic_core import TzInfo

MAX_INTEGER_BITS: Final = 14_000
"""Python refuses to read a number of more than 4,300 digits."""

_OFFSETS: Final = (NoneType, timezone, TzInfo)
"""Time zones that are nothing but an offset from UTC, which is all that is kept of them."""


@dataclass(frozen=True, slots=True)
class Text:
    """How a value of one type becomes a text, and is read from it."""

    tag: str
    read: Callable[[str], Any]
    write: Callable[[Any], str] = str


def _check_text(value: str) -> None:
    try:
        value.encode()
    except UnicodeEncodeError:
        raise ValueError("text with half a character in it (a lone surrogate)") from None


def _check_integer(value: int) -> None:
    if value.bit_length() > MAX_INTEGER_BITS:
        raise ValueError("a number of more than 4,000 digits")


def _check_finite(value: float | Decimal) -> None:
    is_finite = value.is_finite() if isinstance(value, Decimal) else math.isfinite(value)
    if not is_finite:
        raise ValueError("a number that is not finite")


def _accept(_: object) -> None: ...


def _write_path(value: PurePosixPath) -> str:
    _check_text(str(value))
    return str(value)


def _write_time(value: datetime | time) -> str:
    if type(value.tzinfo) not in _OFFSETS:
        raise ValueError(
            f"a time in the zone {value.tzinfo}, of which only the offset could be kept"
        )
    if value.fold:
        raise ValueError("the second of two equal times of a day")
    return value.isoformat()


def _write_decimal(value: Decimal) -> str:
    _check_finite(value)
    return str(value)


def _write_duration(value: timedelta) -> str:
    return str(value // timedelta(microseconds=1))


def _read_duration(microseconds: str) -> timedelta:
    return timedelta(microseconds=int(microseconds))


def _write_bytes(value: bytes) -> str:
    return base64.b64encode(value).decode()


def _read_bytes(text: str) -> bytes:
    return base64.b64decode(text, validate=True)


IN_JSON: Final[Mapping[type, Callable[[Any], None]]] = {
    NoneType: _accept,
    bool: _accept,
    int: _check_integer,
    float: _check_finite,
    str: _check_text,
}
"""What may be wrong with values that JSON has."""

TEXTS: Final[Mapping[type, Text]] = {
    datetime: Text("$datetime", datetime.fromisoformat, _write_time),
    date: Text("$date", date.fromisoformat),
    time: Text("$time", time.fromisoformat, _write_time),
    timedelta: Text("$microseconds", _read_duration, _write_duration),
    Decimal: Text("$decimal", Decimal, _write_decimal),
    UUID: Text("$uuid", UUID),
    bytes: Text("$base64", _read_bytes, _write_bytes),
    PosixPath: Text("$path", PosixPath, _write_path),
    PurePosixPath: Text("$purepath", PurePosixPath, _write_path),
    AnyUrl: Text("$anyurl", AnyUrl),
    HttpUrl: Text("$httpurl", HttpUrl),
}
