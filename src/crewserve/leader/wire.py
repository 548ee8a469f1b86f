"""Messages between the leader and a follower: JSON, each behind its length."""

import json
import os
import secrets
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
KEY_BYTES: Final = 32


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
    """A socket at *path* for this user only. What a leader before left there is replaced.

    So is the key beside it, without which a follower is turned away: a process that is kept from
    reading files can connect to a socket even so.
    """
    path.unlink(missing_ok=True)
    _write_key(path)
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
        connection.sendall(read_key(path))
    except OSError:
        connection.close()
        raise
    connection.settimeout(0)
    return connection


def read_key(path: Path) -> bytes:
    """Of the leader that listens at *path*. Raises OSError."""
    return _key_file(path).read_bytes()


def _write_key(path: Path) -> None:
    file = _key_file(path)
    file.unlink(missing_ok=True)
    descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, _MODE)
    with os.fdopen(descriptor, "wb") as opened:
        opened.write(secrets.token_bytes(KEY_BYTES))


def _key_file(path: Path) -> Path:
    return path.with_suffix(".key")


@contextmanager
def _short(path: Path) -> Iterator[str]:
    """The same place with few letters: an address has 107 at most (unix(7))."""
    folder = os.open(path.parent, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{folder}/{path.name}"
    finally:
        os.close(folder)
