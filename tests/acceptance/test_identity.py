"""Tokens of an identity provider open a real server."""

from pathlib import Path

import httpx
import pytest

from tests.support.identity import AUDIENCE, serving_identities
from tests.support.servers import FLOWS, crewserve_serve, running

pytestmark = pytest.mark.own_ground


def test_a_token_opens_what_it_names_and_nothing_else(tmp_path: Path) -> None:
    with serving_identities() as provider:
        variables = {
            "CREWSERVE_AUTH": "required",
            "CREWSERVE_OIDC_ISSUER": provider.url,
            "CREWSERVE_OIDC_AUDIENCE": AUDIENCE,
        }
        command = crewserve_serve(f"{FLOWS}/shapes.py:Routed")
        with running(command, tmp_path, variables=variables) as server:

            def ask(token: str, method: str = "GET", path: str = "executions") -> httpx.Response:
                headers = {"Authorization": f"Bearer {token}"}
                return server.client.request(method, f"/api/v1/{path}", headers=headers)

            reader = provider.token(scope="executions:read")
            assert ask(reader).json()["executions"] == []
            assert ask(reader, "POST", "routed/execute").status_code == httpx.codes.FORBIDDEN
            assert ask(provider.token(aud="another")).status_code == httpx.codes.UNAUTHORIZED
            assert server.client.get("/api/v1/executions").status_code == httpx.codes.UNAUTHORIZED
            assert ask(reader).is_success
        assert reader not in server.log
        assert len(provider.asked) == 2
