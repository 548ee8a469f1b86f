"""An OpenAI-compatible provider on loopback: says what a test wants it to say."""

import json
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Final

KEY: Final = "sk-for-the-loopback-provider"
MODEL: Final = "openai/test-model"
POEM: Final = "A server woke at dawn. It carried every flow. By night it slept."


@dataclass(slots=True, eq=False)
class Provider:
    """What it answers, how late, and what it was asked."""

    url: str
    text: str = POEM
    delay: float = 0.0
    """Seconds before each answer."""
    requests: list[dict[str, Any]] = field(default_factory=list)
    """Bodies of the chat completions that were asked for."""
    authorizations: list[str] = field(default_factory=list)

    @property
    def variables(self) -> Mapping[str, str]:
        """The environment that leads a flow here."""
        return {
            "MODEL": MODEL,
            "OPENAI_API_KEY": KEY,
            "OPENAI_BASE_URL": self.url,
            "OPENAI_API_BASE": self.url,
        }

    def answer(self, body: dict[str, Any], authorization: str) -> dict[str, Any]:
        """One chat completion."""
        self.requests.append(body)
        self.authorizations.append(authorization)
        time.sleep(self.delay)
        message = {"role": "assistant", "content": self.text}
        return {
            "id": f"chatcmpl-{len(self.requests)}",
            "object": "chat.completion",
            "created": int(time.time()),
            "model": body.get("model", ""),
            "choices": [{"index": 0, "message": message, "finish_reason": "stop"}],
            "usage": {"prompt_tokens": 9, "completion_tokens": 16, "total_tokens": 25},
        }


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    provider: Provider


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if self.path != "/v1/chat/completions":
            self._send(404, {"error": {"message": f"there is no {self.path}"}})
            return
        answer = self.server.provider.answer(body, self.headers.get("Authorization", ""))
        self._send(200, answer)

    def _send(self, status: int, body: dict[str, Any]) -> None:
        content = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - as the base class
        """Nothing: tests look at `Provider.requests`."""


@contextmanager
def providing() -> Iterator[Provider]:
    """A provider on a free port."""
    with _Server(("127.0.0.1", 0), _Handler) as server:
        server.provider = Provider(f"http://127.0.0.1:{server.server_port}/v1")
        thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
        thread.start()
        try:
            yield server.provider
        finally:
            server.shutdown()
            thread.join()
