"""The server's own secret, where nobody else reads it."""

import os
from contextlib import suppress
from pathlib import Path
from secrets import token_hex
from typing import Final

_BYTES: Final = 32


def read_secret(path: Path) -> bytes:
    """What is in the file at *path*. It is made when missing, whole or not at all."""
    with suppress(FileNotFoundError):
        return path.read_bytes()
    made = path.with_name(f"{path.name}.{token_hex(4)}")
    descriptor = os.open(made, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(token_hex(_BYTES).encode())
        file.flush()
        os.fsync(file.fileno())
    try:
        with suppress(FileExistsError):  # another process was first
            os.link(made, path)
    finally:
        made.unlink()
    return path.read_bytes()
