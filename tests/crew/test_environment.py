"""What flows get of the server's environment, and what of the server they can see."""

import subprocess
import sys

import pytest

from crewserve.crew.environment import private_parts, template_environment

URL = "postgresql://me:p%40ss-of-mine@there/mine"


def inherited(server: dict[str, str], shared: tuple[str, ...] = ()) -> dict[str, str]:
    private = private_parts([URL])
    return template_environment(server, storage="/s", extra={}, private=private, shared=shared)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("CREWSERVE_DATABASE_URL", URL),
        ("CREWSERVE_BROKER_URL", "redis://:secret@there/0"),
        ("DATABASE_URL", "postgresql://somebody:else@there/theirs"),
        ("PGPASSWORD", "theirs"),
        ("POSTGRES_PASSWORD", "theirs"),
        ("REDIS_URL", "redis://there"),
        ("RABBITMQ_DEFAULT_PASS", "theirs"),
        ("CELERY_BROKER_URL", "amqp://there"),
        ("COPY", URL),
        ("SECRET_OF_THE_DATABASE", "p@ss-of-mine"),
        ("OTHER_DATABASE", "postgresql+psycopg://me:p%40ss-of-mine@there/other"),
    ],
)
def test_what_leads_to_the_server_reaches_no_flow(name: str, value: str) -> None:
    assert inherited({name: value})[name] == ""


@pytest.mark.parametrize("name", ["OPENAI_API_KEY", "MODEL", "PATH", "MY_PASSWORD"])
def test_what_is_the_users_does(name: str) -> None:
    assert inherited({name: "theirs"})[name] == "theirs"


def test_the_deployer_makes_exceptions() -> None:
    assert inherited({"REDIS_URL": "redis://there"}, ("REDIS_URL",))["REDIS_URL"] == "redis://there"


SPYING = """
import os, sys
from crewserve.crew.processes import hide
if os.geteuid() == 0:  # who may read everything
    os.setuid(65534)
if sys.argv[1] == "hidden":
    hide()
else:
    import ctypes
    ctypes.CDLL(None).prctl(4, 1)  # as after an exec
if os.fork() == 0:
    try:
        open(f"/proc/{os.getppid()}/environ", "rb").read()
    except PermissionError:
        os._exit(13)
    os._exit(0)
sys.exit(os.waitstatus_to_exitcode(os.wait()[1]))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="/proc is Linux's")
@pytest.mark.parametrize(("mode", "code"), [("hidden", 13), ("open", 0)])
def test_a_hidden_process_cannot_be_read_by_others_of_its_user(mode: str, code: int) -> None:
    run = subprocess.run([sys.executable, "-c", SPYING, mode], check=False)
    assert run.returncode == code
