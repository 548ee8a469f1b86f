"""What ended long ago is written down and gone, with its files."""

import json
from pathlib import Path

import httpx
import pytest

from tests.support.servers import FLOWS, crewserve_serve, running
from tests.support.waiting import eventually

COMMAND = crewserve_serve(f"{FLOWS / 'loud.py'}:Loud")

pytestmark = pytest.mark.own_ground


def test_a_server_forgets_what_its_settings_do_not_keep(tmp_path: Path) -> None:
    data, archive = tmp_path / "data", tmp_path / "archive" / "of-it"
    variables = {"OPENAI_API_KEY": "not-to-be-seen"}
    with running(COMMAND, tmp_path, data=data, variables=variables) as server:
        server.wait_for_flows()
        ids = [server.run("loud")["execution_id"] for _ in range(3)]
        folders = [server.folder(execution) for execution in ids]
        folders[0].mkdir(exist_ok=True)
    variables |= {"CREWSERVE_RETENTION_COUNT": "1", "CREWSERVE_RETENTION_ARCHIVE": str(archive)}
    with running(COMMAND, tmp_path, data=data, variables=variables) as server:
        url = "/api/v1/executions"
        eventually(lambda: len(server.client.get(url).json()["executions"]) == 1, what="it forgets")
        assert server.client.get(f"{url}/{ids[2]}").is_success
        assert server.client.get(f"{url}/{ids[0]}/logs").status_code == httpx.codes.NOT_FOUND
        eventually(lambda: not folders[0].exists(), what="its files are gone")
        [path] = archive.iterdir()
        kept = [json.loads(line) for line in path.read_text().splitlines()]
    assert [one["execution"]["execution_id"] for one in kept] == ids[:2]
    for one in kept:
        assert [step["name"] for step in one["steps"]] == ["speak", "warn"]
        assert one["events"][-1]["type"] == "execution_completed"
        assert "printed" in [line["text"] for line in one["logs"]]
    assert "not-to-be-seen" not in path.read_text()
