"""An identity provider: it publishes keys, and signs tokens with them."""

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

import httpx
import jwt
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, generate_private_key
from jwt.algorithms import RSAAlgorithm

AUDIENCE = "crewserve"


@dataclass
class IdentityProvider:
    url: str = "https://id.example.com"
    keys: dict[str, RSAPrivateKey] = field(default_factory=dict)
    documents: dict[str, Any] = field(default_factory=dict)
    """What it answers in place of the truth, by path."""
    is_away: bool = False
    asked: list[str] = field(default_factory=list)

    def new_key(self, key_id: str) -> None:
        self.keys[key_id] = generate_private_key(65537, 2048)

    def token(
        self,
        key_id: str = "first",
        *,
        typ: str = "at+jwt",
        algorithm: str = "RS256",
        **claims: Any,
    ) -> str:
        """Claims of value None are left out."""
        now = int(time.time())
        given = {"iss": self.url, "aud": AUDIENCE, "sub": "ann", "iat": now, "exp": now + 600}
        said = {name: value for name, value in (given | claims).items() if value is not None}
        headers = {"kid": key_id, "typ": typ}
        return jwt.encode(said, self.keys[key_id], algorithm=algorithm, headers=headers)

    def answer(self, path: str) -> tuple[int, bytes]:
        self.asked.append(path)
        if self.is_away:
            return 503, b""
        if path in self.documents:
            return 200, json.dumps(self.documents[path]).encode()
        if path == "/.well-known/openid-configuration":
            found: dict[str, Any] = {"issuer": self.url, "jwks_uri": f"{self.url}/keys"}
        else:
            found = {"keys": [self._public(key_id) for key_id in self.keys]}
        return 200, json.dumps(found).encode()

    def _public(self, key_id: str) -> dict[str, Any]:
        public = RSAAlgorithm.to_jwk(self.keys[key_id].public_key(), as_dict=True)
        return {**public, "kid": key_id, "use": "sig", "alg": "RS256"}

    def transport(self) -> httpx.MockTransport:
        def handle(request: httpx.Request) -> httpx.Response:
            status, content = self.answer(request.url.path)
            return httpx.Response(status, content=content)

        return httpx.MockTransport(handle)


@contextmanager
def serving_identities() -> Iterator[IdentityProvider]:
    """One on loopback."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            status, content = provider.answer(self.path)
            self.send_response(status)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        provider = IdentityProvider(f"http://127.0.0.1:{server.server_port}")
        provider.new_key("first")
        thread = Thread(target=server.serve_forever)
        thread.start()
        yield provider
        server.shutdown()
        thread.join()
