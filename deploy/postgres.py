"""A PostgreSQL server of one's own."""

import os
import pwd
import shutil
import subprocess
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

from deploy.ports import free_port


@dataclass(slots=True, eq=False)
class PostgresServer:
    """In a folder of its own, by default a temporary one. It can be stopped and started."""

    folder: Path = field(default_factory=lambda: Path(tempfile.mkdtemp(prefix="crewserve-pg-")))
    port: int = field(default_factory=free_port)
    survives_power_cuts: bool = True
    """False is quicker, and enough where the server is killed, but not the machine."""

    @property
    def url(self) -> str:
        return f"postgresql://postgres@127.0.0.1:{self.port}/postgres"

    def create(self) -> "PostgresServer":
        """Make its files, unless they are there.

        Raises: FileNotFoundError when PostgreSQL is not installed.
        """
        if (self.folder / "data" / "PG_VERSION").exists():
            return self
        self.folder.mkdir(parents=True, exist_ok=True)
        if os.geteuid() == 0:
            os.chown(self.folder, _user().pw_uid, _user().pw_gid)
        self._run("initdb", "--username=postgres", "--auth=trust", "--no-sync", "-E", "UTF8")
        return self

    def start(self) -> None:
        """Wait until it answers."""
        settings = {
            "port": str(self.port),
            "listen_addresses": "127.0.0.1",
            "unix_socket_directories": "''",
            "fsync": "on" if self.survives_power_cuts else "off",
        }
        options = " ".join(f"-c {name}={value}" for name, value in settings.items())
        log = str(self.folder / "log")
        self._run("pg_ctl", "--wait", "--silent", f"--log={log}", f"--options={options}", "start")

    def stop(self) -> None:
        """Whoever is connected is thrown out, and everything is written."""
        self._run("pg_ctl", "--wait", "--silent", "--mode=fast", "stop")

    def stop_immediate(self) -> None:
        """As a crash does: every connection breaks, no transaction is finished."""
        self._run("pg_ctl", "--wait", "--silent", "--mode=immediate", "stop")

    @property
    def runs(self) -> bool:
        return (self.folder / "data" / "postmaster.pid").exists()

    def remove(self) -> None:
        """Stop it if it runs, and delete its files."""
        if self.runs:
            self.stop_immediate()
        shutil.rmtree(self.folder, ignore_errors=True)

    def _run(self, program: str, *arguments: str) -> None:
        command = [str(_binaries() / program), f"--pgdata={self.folder / 'data'}", *arguments]
        if os.geteuid() == 0:
            ids = [f"--reuid={_user().pw_uid}", f"--regid={_user().pw_gid}", "--clear-groups"]
            command = ["setpriv", *ids, *command]
        errors = self.folder / "errors"
        with errors.open("ab") as stderr:
            ended = subprocess.run(
                command,
                cwd=self.folder,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=stderr,
                check=False,
            )
        if ended.returncode != 0:
            raise RuntimeError(f"{program} failed:\n{errors.read_text()}")


def _binaries() -> Path:
    """The newest version's."""
    found = sorted(
        Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: int(path.parent.name)
    )
    if found:
        return found[-1]
    if on_path := shutil.which("initdb"):
        return Path(on_path).parent
    raise FileNotFoundError("PostgreSQL is not installed")


def _user() -> pwd.struct_passwd:
    """Whom root becomes, because PostgreSQL refuses to run as root."""
    users = {entry.pw_name: entry for entry in pwd.getpwall()}
    return users.get("postgres") or users["nobody"]
