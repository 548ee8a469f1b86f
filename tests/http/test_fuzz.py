"""Ten thousand requests that nobody should send: each is answered, none with a defect of ours."""

import asyncio
import json
import os
import random
from dataclasses import dataclass, field
from typing import Any, Final

import pytest

from crewserve.domain.execution import Execution
from crewserve.domain.status import Status
from crewserve.testing.builders import an_execution
from tests.support.api import Bench, a_bench, describe

REQUESTS: Final = int(os.environ.get("FUZZ_REQUESTS", "10000"))
SEED: Final = int(os.environ.get("FUZZ_SEED", "6"))
SECONDS: Final = 20
LEAKS: Final = (b"Traceback", b'File "', b"crewserve/")
"""What no answer may contain: how the server is made."""

TEXTS: Final = (
    *(
        "",
        "0",
        "-1",
        "a",
        "null",
        "true",
        "1e999",
        "٣",
        "\x00",
        "é",
        "%",
        "%00",
        "%ff",
        "..",
        "a" * 5000,
    ),
    *(
        "../../etc/passwd",
        "%2e%2e%2fetc%2fpasswd",
        "..\\..\\x",
        "/etc/passwd",
        "file:///etc/passwd",
    ),
    *(
        "{{7*7}}",
        "${jndi:ldap://x}",
        "' OR 1=1 --",
        '"; DROP TABLE executions; --',
        "<script>",
        "*",
    ),
    *("2026-01-01T00:00:00Z", "9999-12-31T23:59:59+14:00", "18446744073709551616", "NaN", "🍰"),
    *("completed", "failed", "executions", "pending,running", "status", "asc", "1000", "default"),
)
VALUES: Final[tuple[Any, ...]] = (
    *(None, True, 0, -1, 2**31, 2**63, 10**400, 1e308, "", "cake", "\x00", "a" * 20_000, [], {}),
    *([[]], [None], {"": 1}, {"a": {"b": []}}, "2026-01-01T00:00:00Z", "🍰"),
)
NAMES: Final = (
    *("topic", "lines", "id", "inputs", "state", "from_step", "accept_changes", "mode", "name"),
    *("scopes", "flows", "execution_ids", "status", "tags", "metadata", "expires_at", "\ud800", ""),
)
QUERY: Final = (
    *(
        "limit",
        "cursor",
        "status",
        "flow",
        "order",
        "fields",
        "wait",
        "priority",
        "start_at",
        "tag",
    ),
    *("delay_seconds", "max_attempts", "timeout_seconds", "created_after", "error_code", "after"),
)
HEADERS: Final = (
    *("authorization", "x-api-key", "idempotency-key", "last-event-id", "accept", "traceparent"),
    *(
        "x-request-id",
        "content-length",
        "content-encoding",
        "transfer-encoding",
        "expect",
        "cookie",
    ),
    *("x-forwarded-for", "forwarded", "host", "origin", "range", "if-none-match", "upgrade"),
)
METHODS: Final = (
    "GET",
    "GET",
    "GET",
    "POST",
    "POST",
    "POST",
    "DELETE",
    "PUT",
    "PATCH",
    "HEAD",
    "OPTIONS",
    "X",
)
TYPES: Final = (
    "application/json",
    "application/json",
    "application/json; charset=utf-16",
    "text/plain",
    "",
    "a/b/c",
)
BODIES: Final = (
    *(b"", b"{", b"null", b"[]", b"\xff\xfe", b"\x00" * 100, b"[" * 9_000, b'{"a":' * 1_500),
    *(b'"' + b"a" * 9_000, b"1" * 5_000, b'{"a":NaN}', b'{"topic":"\\ud800"}'),
    *(b'{"topic":"\\u0000"}', b'{"topic":"a","topic":1}'),
)


@dataclass
class Fuzzer:
    """What it sends depends on its dice alone."""

    dice: random.Random
    paths: list[str]
    ids: list[str]

    def request(self) -> dict[str, Any]:
        path = self.path()
        return {
            "method": self.dice.choice(METHODS),
            "path": path,
            "query": "&".join(
                f"{self.dice.choice(QUERY)}={self.dice.choice(TEXTS)}"
                for _ in range(self.dice.choice((0, 0, 1, 2, 5)))
            ),
            "headers": [
                *([("content-type", kind)] if (kind := self.dice.choice(TYPES)) else []),
                *(
                    (self.dice.choice(HEADERS), self.text())
                    for _ in range(self.dice.choice((0, 0, 1, 3)))
                ),
            ],
            "body": self.body(),
        }

    def path(self) -> str:
        parts = self.dice.choice(self.paths).split("/")
        filled = [self.part() if part.startswith("{") else part for part in parts]
        if self.dice.random() < 0.1:
            filled.insert(self.dice.randrange(1, len(filled) + 1), self.dice.choice(TEXTS))
        return "/".join(filled)

    def part(self) -> str:
        return self.dice.choice((self.dice.choice(self.ids), self.dice.choice(TEXTS)))

    def text(self) -> str:
        if self.dice.random() < 0.2:
            return self.dice.randbytes(self.dice.randrange(40)).decode("latin-1")
        return self.dice.choice(TEXTS)

    def body(self) -> bytes:
        if self.dice.random() < 0.3:
            return self.dice.choice(BODIES)
        return json.dumps(self.object(3)).encode()

    def object(self, depth: int) -> dict[str, Any]:
        names = self.dice.choices(NAMES, k=self.dice.randrange(5))
        deeper = depth and self.dice.random() < 0.3
        return {
            name: self.object(depth - 1) if deeper else self.dice.choice(VALUES) for name in names
        }


@dataclass
class Asked:
    """One request to an app, without a server that would refuse half of them."""

    request: dict[str, Any]
    status: int = 0
    headers: dict[bytes, bytes] = field(default_factory=dict)
    answer: bytes = b""
    _sent: bool = False

    async def receive(self) -> dict[str, Any]:
        if self._sent:
            return {"type": "http.disconnect"}
        self._sent = True
        return {"type": "http.request", "body": self.request["body"], "more_body": False}

    async def send(self, message: Any) -> None:
        if message["type"] == "http.response.start":
            self.status, self.headers = message["status"], dict(message["headers"])
        self.answer += message.get("body", b"")

    def scope(self) -> dict[str, Any]:
        said = self.request
        return {
            "type": "http",
            "asgi": {"version": "3.0"},
            "http_version": "1.1",
            "method": said["method"],
            "scheme": "http",
            "path": said["path"],
            "raw_path": said["path"].encode(errors="surrogatepass"),
            "query_string": said["query"].encode(),
            "root_path": "",
            "headers": [(name.encode(), value.encode()) for name, value in said["headers"]],
            "client": ("127.0.0.1", 1),
            "server": ("127.0.0.1", 8000),
        }


def a_fuzzer(bench: Bench) -> Fuzzer:
    describe(bench, input_schema={"type": "object"})
    known: list[Execution] = [an_execution(status) for status in Status]
    for execution in known:
        bench.store._add(execution, [])
    paths = [*bench.app.openapi()["paths"], "/docs", "/docs-assets/{file}", "/openapi.json"]
    return Fuzzer(random.Random(SEED), paths, [str(one.id) for one in known])


@pytest.mark.timeout(500)
async def test_no_request_makes_the_server_fail_or_tell() -> None:
    bench = a_bench(max_body_bytes=100_000)
    token = bench.key("admin")["Authorization"].removeprefix("Bearer ").encode()
    fuzzer, statuses = a_fuzzer(bench), set[int]()
    for _ in range(REQUESTS):
        asked = Asked(fuzzer.request())
        async with asyncio.timeout(SECONDS):
            await bench.app(asked.scope(), asked.receive, asked.send)
        assert 200 <= asked.status < 500, (asked.status, asked.request, asked.answer)
        assert b"x-content-type-options" in asked.headers, asked.request
        if asked.status >= 400 and asked.answer:
            assert asked.headers[b"content-type"] == b"application/problem+json", asked.request
            assert not [leak for leak in (*LEAKS, token) if leak in asked.answer], asked
        statuses.add(asked.status)
    assert {200, 202, 400, 401, 404, 405, 415, 421, 422} <= statuses
