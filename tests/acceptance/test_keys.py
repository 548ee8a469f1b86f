"""Who gets in, with real servers on real addresses."""

import re
import socket
from functools import partial
from pathlib import Path

import httpx
import pytest

from tests.support.servers import Server, crewserve_serve, data_of, run_api, run_to_end, running
from tests.support.waiting import eventually

ALL = ("--host", "0.0.0.0")


def address() -> str:
    """One of this machine that is not loopback; nothing is sent."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))
        except OSError:
            pytest.skip("this machine has no network")
        return str(probe.getsockname()[0])


def from_elsewhere(server: Server, key: str | None = None) -> int:
    """The status of a list that is asked for as another machine would."""
    url = server.url.replace("0.0.0.0", address())
    headers = {} if key is None else {"Authorization": f"Bearer {key}"}
    return httpx.get(f"{url}/api/v1/executions", headers=headers, timeout=30).status_code


def keys(folder: Path, *arguments: str) -> str:
    """What the command prints."""
    command = [crewserve_serve()[0], "keys", *arguments]
    ended = run_to_end(command, folder)
    assert ended.returncode == 0, ended.stderr
    return ended.stdout


@pytest.mark.own_ground
def test_an_exposed_server_makes_one_key_and_asks_strangers_for_it(tmp_path: Path) -> None:
    variables = {"CREWSERVE_DATABASE_URL": ""}
    with running(run_api(*ALL), tmp_path, variables=variables) as server:
        [key] = re.findall(r"csk_\S+", server.stdout)
        assert httpx.get(
            f"http://localhost:{httpx.URL(server.url).port}/api/v1/executions"
        ).is_success
        assert from_elsewhere(server) == 401
        assert from_elsewhere(server, key) == 200
        assert key not in server.log
    with running(run_api(*ALL), tmp_path, variables=variables) as server:
        assert "csk_" not in server.stdout
        assert from_elsewhere(server, key) == 200


@pytest.mark.own_ground
def test_keys_of_the_command_line_count_and_end_while_the_server_runs(tmp_path: Path) -> None:
    variables = {"CREWSERVE_DATABASE_URL": "", "CREWSERVE_AUTH": "required"}
    reading = keys(tmp_path, "create", "reader", "--scope", "executions:read").strip()
    with running(run_api("--workers", "2"), tmp_path, variables=variables) as server:
        url = f"{server.url}/api/v1/executions"
        assert httpx.get(url).status_code == 401
        assert "csk_" not in server.stdout
        assert httpx.get(url, headers={"X-API-Key": reading}).status_code == 200
        key_id = reading.split("_")[1]
        assert f"{key_id}  reader  default" in keys(tmp_path, "list")
        rotated = keys(tmp_path, "rotate", key_id).strip()
        assert httpx.get(url, headers={"X-API-Key": rotated}).status_code == 200
        keys(tmp_path, "revoke", rotated.split("_")[1])
        for ended in (reading, rotated):
            eventually(partial(_is_refused, url, ended), what="the key is refused")


def _is_refused(url: str, key: str) -> bool:
    return httpx.get(url, headers={"X-API-Key": key}).status_code == 401


@pytest.mark.own_ground
def test_a_server_that_is_opened_on_purpose_says_so(tmp_path: Path) -> None:
    variables = {"CREWSERVE_DATABASE_URL": "", "CREWSERVE_AUTH": "none"}
    with running(run_api(*ALL), tmp_path, variables=variables) as server:
        assert "csk_" not in server.stdout
        assert from_elsewhere(server) == 200
        assert "whoever reaches the port may do everything" in server.log


def test_the_secret_is_for_the_server_s_user_alone(tmp_path: Path) -> None:
    keys(tmp_path, "create", "one", "--scope", "admin")
    files = list(data_of(tmp_path).glob("secret.key*"))
    assert [file.stat().st_mode & 0o777 for file in files] == [0o600]


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        (["create", "x", "--scope", "all"], "scopes: "),
        (["create", "x", "--scope", "admin", "--days", "0"], "expires_in_days: "),
        (["revoke", "0123456789ab"], "No API key has the id '0123456789ab'"),
    ],
)
def test_what_cannot_be_done_is_said_in_one_line(
    tmp_path: Path, arguments: list[str], error: str
) -> None:
    ended = run_to_end([crewserve_serve()[0], "keys", *arguments], tmp_path)
    assert (ended.returncode, ended.stdout) == (1, "")
    assert ended.stderr.startswith(f"error: {error}")
