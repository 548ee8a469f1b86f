"""An OpenAI-compatible provider on loopback: says what a test wants it to say."""

import json
import re
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Final

KEY: Final = "sk-for-the-loopback-provider"
MODEL: Final = "openai/test-model"
USAGE: Final = {"prompt_tokens": 9, "completion_tokens": 16, "total_tokens": 25}
POEM: Final = "A server woke at dawn. It carried every flow. By night it slept."


@dataclass(slots=True, eq=False)
class Provider:
    """What it answers, how late, and what it was asked."""

    url: str
    text: str = POEM
    delay: float = 0.0
    """Seconds before each answer."""
    before_piece: Callable[[], object] = lambda: None
    """Called before each piece of an answer that streams."""
    answers: Callable[[dict[str, Any]], str] | None = None
    """What to say to a request, instead of `text`."""
    tool_calls: Callable[[dict[str, Any]], list[dict[str, Any]]] = lambda _: []
    """Which tools it asks for in place of an answer."""
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
        message: dict[str, Any] = {"role": "assistant", "content": self.says(body)}
        if calls := self.tool_calls(body):
            message |= {"content": None, "tool_calls": calls}
        choice = {"index": 0, "message": message, "finish_reason": "stop"}
        return self._completion(body, "chat.completion", [choice], USAGE)

    def says(self, body: dict[str, Any]) -> str:
        """What is answered."""
        return self.text if self.answers is None else self.answers(body)

    def pieces(self, body: dict[str, Any]) -> Iterator[dict[str, Any]]:
        """The same, word by word."""
        for word in re.findall(r"\s*\S+", self.says(body)):
            self.before_piece()
            choice = {"index": 0, "delta": {"content": word}, "finish_reason": None}
            yield self._completion(body, "chat.completion.chunk", [choice])
        end = {"index": 0, "delta": {}, "finish_reason": "stop"}
        yield self._completion(body, "chat.completion.chunk", [end])
        yield self._completion(body, "chat.completion.chunk", [], USAGE)

    def _completion(
        self, body: dict[str, Any], kind: str, choices: list[Any], usage: Any = None
    ) -> dict[str, Any]:
        return {
            "id": f"chatcmpl-{len(self.requests)}",
            "object": kind,
            "created": int(time.time()),
            "model": body.get("model", ""),
            "choices": choices,
            "usage": usage,
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
        if body.get("stream"):
            self._stream(self.server.provider.pieces(body))
        else:
            self._send(200, answer)

    def _stream(self, pieces: Iterator[dict[str, Any]]) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Connection", "close")
        self.end_headers()
        self.close_connection = True
        with suppress(ConnectionError):  # whoever asked may have been killed
            for piece in pieces:
                self.wfile.write(f"data: {json.dumps(piece)}\n\n".encode())
            self.wfile.write(b"data: [DONE]\n\n")

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
