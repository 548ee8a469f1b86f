"""The processes of one server, each asked by itself."""

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import httpx

from tests.support import processes
from tests.support.servers import Server
from tests.support.waiting import eventually


def workers(server: Server) -> set[int]:
    """Those that answer requests."""
    return {
        pid
        for pid in server.processes()
        if processes.parent_of(pid) == server.pid
        and "resource_tracker" not in processes.command_of(pid)
    }


def leader(server: Server) -> int:
    """The one that has a template."""

    def found() -> int | None:
        parents = {
            processes.parent_of(pid)
            for pid in server.processes()
            if "crewserve.crew.template" in processes.command_of(pid)
        }
        return next(iter(parents & workers(server)), None)

    return eventually(found, what="one of them leads")


@contextmanager
def asked_one_by_one(server: Server, count: int) -> Iterator[Mapping[int, httpx.Client]]:
    """A client for each of *count* processes, whose connection that process has accepted."""
    with ExitStack() as stack:
        found: dict[int, httpx.Client] = {}

        def have_all() -> bool:
            client = stack.enter_context(httpx.Client(base_url=server.url, timeout=60))
            found[answering(server, client)] = client
            return len(found) == count

        eventually(have_all, what=f"{count} processes have answered")
        yield found


def answering(server: Server, client: httpx.Client) -> int:
    """The process at the other end of the connection of *client*."""
    with client.stream("GET", "/health") as answer:
        stream = answer.extensions["network_stream"]
        ours, theirs = stream.get_extra_info("client_addr"), stream.get_extra_info("server_addr")
        inode = _inode(theirs[1], ours[1])
        answer.read()
    [pid] = [pid for pid in workers(server) if f"socket:[{inode}]" in _files(pid)]
    return pid


def _inode(local: int, remote: int) -> str:
    """Of the socket on the loopback between these ports (proc(5), /proc/net/tcp)."""
    for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
        fields = line.split()
        if [int(fields[place].rpartition(":")[2], 16) for place in (1, 2)] == [local, remote]:
            return fields[9]
    raise AssertionError("The connection is gone")


def _files(pid: int) -> set[str]:
    found = set()
    for file in Path(f"/proc/{pid}/fd").iterdir():
        with suppress(OSError):
            found.add(str(file.readlink()))
    return found
