"""A line to PostgreSQL that is cut at the worst moment."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import urlsplit

CHUNK: Final = 2**16


@dataclass(slots=True, eq=False)
class Cutter:
    """Carries bytes to and from a server; loses its answer to one commit, and the connection."""

    host: str
    port: int
    statement: bytes
    """The commit after this one is meant."""
    listener: socket.socket = field(default_factory=lambda: socket.create_server(("127.0.0.1", 0)))
    cuts: int = 0

    def serve(self) -> None:
        """Until it is closed."""
        with suppress(OSError):
            while True:
                client, _ = self.listener.accept()
                server = socket.create_connection((self.host, self.port))
                threading.Thread(target=self._ask, args=(client, server), daemon=True).start()

    def _ask(self, client: socket.socket, server: socket.socket) -> None:
        answering = threading.Thread(target=_copy, args=(server, client), daemon=True)
        answering.start()
        seen = False
        with client, server, suppress(OSError):
            while asked := client.recv(CHUNK):
                seen = seen or self.statement in asked
                if seen and not self.cuts and b"COMMIT" in asked:
                    self.cuts += 1
                    client.shutdown(socket.SHUT_RDWR)
                    server.sendall(asked)
                    server.shutdown(socket.SHUT_WR)  # it reads what it has, and then the end
                    answering.join()
                    return
                server.sendall(asked)


def _copy(source: socket.socket, target: socket.socket) -> None:
    """Reads to the end even when nobody listens any more."""
    with suppress(OSError):
        while answered := source.recv(CHUNK):
            with suppress(OSError):
                target.sendall(answered)


@contextmanager
def cutting(url: str, statement: bytes) -> Iterator[tuple[str, Cutter]]:
    """A URL that leads to the server at *url*."""
    parts = urlsplit(url)
    assert parts.hostname is not None
    cutter = Cutter(parts.hostname, parts.port or 5432, statement)
    thread = threading.Thread(target=cutter.serve, daemon=True)
    thread.start()
    here = f"{parts.username}@127.0.0.1:{cutter.listener.getsockname()[1]}"
    yield parts._replace(netloc=here).geturl(), cutter
    cutter.listener.shutdown(socket.SHUT_RDWR)
    cutter.listener.close()
    thread.join()
