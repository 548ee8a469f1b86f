"""Messages between the leader and a follower: JSON, each behind its length."""

import json
import os
import socket
from asyncio import StreamReader, StreamWriter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Final
from uuid import UUID

_LENGTH: Final = 4
_MODE: Final = 0o600


def to_json(data: Any) -> bytes:
    """Half characters and NaN pass: whether they can be kept is for the store to say.

    Raises TypeError, ValueError or RecursionError for what is no JSON.
    """
    return json.dumps(data, default=_plain, separators=(",", ":")).encode()


def _plain(value: Any) -> Any:
    match value:
        case UUID():
            return str(value)
        case datetime():
            return value.isoformat()
        case timedelta():
            return value.total_seconds()
        case frozenset():
            return list(value)
        case _:
            raise TypeError(f"Object of type {type(value).__name__} is not JSON serializable")


def frame(message: bytes) -> bytes:
    return len(message).to_bytes(_LENGTH) + message


async def read_message(reader: StreamReader) -> Any:
    """Raises: asyncio.IncompleteReadError, when the other side has ended."""
    length = int.from_bytes(await reader.readexactly(_LENGTH))
    return json.loads(await reader.readexactly(length))


async def hang_up(writer: StreamWriter) -> None:
    """At once: whatever the other side did not get is asked for again."""
    writer.transport.abort()
    with suppress(OSError):
        await writer.wait_closed()


def listen(path: Path) -> socket.socket:
    """A socket at *path* for this user only. What a leader before left there is replaced."""
    path.unlink(missing_ok=True)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    os.fchmod(listener.fileno(), _MODE)  # the file gets it when it is made, so that there is no gap
    with _short(path) as short:
        listener.bind(short)
    listener.listen()
    listener.settimeout(0)
    return listener


def connect(path: Path) -> socket.socket:
    """Raises OSError when nobody listens there."""
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        with _short(path) as short:
            connection.connect(short)
    except OSError:
        connection.close()
        raise
    connection.settimeout(0)
    return connection


@contextmanager
def _short(path: Path) -> Iterator[str]:
    """The same place with few letters: an address has 107 at most (unix(7))."""
    folder = os.open(path.parent, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{folder}/{path.name}"
    finally:
        os.close(folder)
