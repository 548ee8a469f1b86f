"""Brokers of one's own, in temporary folders."""

import json
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from deploy.ports import free_port
from deploy.waiting import eventually


@dataclass(slots=True, eq=False)
class BrokerServer(ABC):
    """A server of its own, that can be killed and started again with what it had stored."""

    parts: int = 1
    """How many virtual brokers it is divided into."""
    folder: Path = field(default_factory=lambda: Path(tempfile.mkdtemp(prefix="crewserve-mq-")))
    port: int = field(default_factory=free_port)
    _process: "subprocess.Popen[bytes] | None" = None

    @property
    def url(self) -> str:
        return self.url_of_part(0)

    @abstractmethod
    def url_of_part(self, number: int) -> str:
        """They know nothing of each other."""

    @abstractmethod
    def command(self) -> list[str]:
        """Raises: FileNotFoundError when it is not installed."""

    def environment(self) -> Mapping[str, str]:
        return {}

    @abstractmethod
    def answers(self) -> bool: ...

    def start(self) -> None:
        """Wait until it answers."""
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                self.command(),
                cwd=self.folder,
                env={**os.environ, **self.environment()},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        eventually(self.answers, what="the broker answers")

    def kill(self) -> None:
        """As a crash does."""
        if self._process is not None:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
            self._process = None

    def remove(self) -> None:
        self.kill()
        shutil.rmtree(self.folder, ignore_errors=True)

    def talk(self, greeting: bytes) -> bytes:
        """What it says to *greeting*; nothing when it does not listen yet."""
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=5) as connection:
                connection.sendall(greeting)
                return connection.recv(100)
        except OSError:
            return b""


class RedisServer(BrokerServer):
    """Keeps what was written when it is killed."""

    def url_of_part(self, number: int) -> str:
        return f"redis://127.0.0.1:{self.port}/{number}"

    def command(self) -> list[str]:
        options = {
            "port": str(self.port),
            "bind": "127.0.0.1",
            "dir": str(self.folder),
            "appendonly": "yes",
            "databases": str(self.parts),
            "save": "",
        }
        return [
            _program("redis-server"),
            *(word for name, value in options.items() for word in (f"--{name}", value)),
        ]

    def answers(self) -> bool:
        return self.talk(b"PING\r\n").startswith(b"+PONG")


@dataclass(slots=True, eq=False)
class RabbitServer(BrokerServer):
    """With a port mapper of its own, which Erlang would else leave behind."""

    mapper_port: int = field(default_factory=free_port)
    distribution_port: int = field(default_factory=free_port)
    _mapper: "subprocess.Popen[bytes] | None" = None

    def kill(self) -> None:
        """Not sooner than what it last stored is safe.

        A quorum queue whose making version 3.10 had not saved yet is of no use ever after.
        """
        time.sleep(1)
        BrokerServer.kill(self)

    def start(self) -> None:
        if self._mapper is None:
            command = [_program("epmd"), "-address", "127.0.0.1", "-port", str(self.mapper_port)]
            silent = subprocess.DEVNULL
            self._mapper = subprocess.Popen(command, stdin=silent, stdout=silent, stderr=silent)
        definitions = self.folder / "definitions.json"
        definitions.write_text(json.dumps(_definitions(self.parts)))
        (self.folder / "rabbitmq.conf").write_text(f"load_definitions = {definitions}\n")
        BrokerServer.start(self)

    def remove(self) -> None:
        BrokerServer.remove(self)
        if self._mapper is not None:
            self._mapper.kill()
            self._mapper.wait()

    def url_of_part(self, number: int) -> str:
        return f"amqp://guest:guest@127.0.0.1:{self.port}/part{number}"

    def command(self) -> list[str]:
        return [_program("rabbitmq-server", "/usr/lib/rabbitmq/bin")]

    def environment(self) -> Mapping[str, str]:
        return {
            "HOME": str(self.folder),  # has the cookie
            "ERL_EPMD_PORT": str(self.mapper_port),
            "RABBITMQ_NODENAME": f"test{self.port}@localhost",
            "RABBITMQ_NODE_IP_ADDRESS": "127.0.0.1",
            "RABBITMQ_NODE_PORT": str(self.port),
            "RABBITMQ_DIST_PORT": str(self.distribution_port),
            "RABBITMQ_MNESIA_BASE": str(self.folder / "data"),
            "RABBITMQ_LOG_BASE": str(self.folder / "logs"),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(self.folder / "plugins"),
            "RABBITMQ_CONFIG_FILE": str(self.folder / "rabbitmq.conf"),
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "-kernel inet_dist_use_interface {127,0,0,1}",
        }

    def answers(self) -> bool:
        return self.talk(b"AMQP\0\0\x09\x01").startswith(b"\1")


def _definitions(parts: int) -> dict[str, list[dict[str, str]]]:
    """A virtual host for each part."""
    hosts = [f"part{number}" for number in range(parts)]
    anything = {"user": "guest", "configure": ".*", "write": ".*", "read": ".*"}
    return {
        "users": [{"name": "guest", "password": "guest", "tags": "administrator"}],
        "vhosts": [{"name": host} for host in hosts],
        "permissions": [{"vhost": host, **anything} for host in hosts],
    }


KINDS = {"redis": RedisServer, "rabbitmq": RabbitServer}


def _program(name: str, folder: str = "") -> str:
    found = shutil.which(name, path=os.pathsep.join(filter(None, (folder, os.environ["PATH"]))))
    if found is None:
        raise FileNotFoundError(f"{name} is not installed")
    return found
