"""The embedded model, with the real weights and the real inference server."""

import asyncio
import json
import os
import signal
import sys
from asyncio.subprocess import PIPE
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from crewserve.crew.embedded_model import EmbeddedModel

ABSENT = EmbeddedModel.missing()
needs_the_model = pytest.mark.skipif(
    ABSENT is not None and "CI" not in os.environ, reason=ABSENT or "the model is installed"
)
on_linux = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc or uses a pidfd")
OWNER = """
import asyncio, pathlib, sys
from urllib.parse import urlsplit
from crewserve.crew.embedded_model import EmbeddedModel

async def own() -> None:
    model = EmbeddedModel(log=pathlib.Path(sys.argv[1]))
    url = urlsplit((await model.open())["OPENAI_BASE_URL"])
    reader, writer = await asyncio.open_connection(url.hostname, url.port)
    writer.write(b"GET /health HTTP/1.1\\r\\nHost: model\\r\\n\\r\\n")
    await reader.readline()
    print(model.process_id, flush=True)
    await asyncio.Event().wait()

asyncio.run(own())
"""
A_MOMENT = 60
"""Seconds that nothing here ever needs on a healthy machine."""


@pytest.fixture
async def model(tmp_path: Path) -> AsyncIterator[EmbeddedModel]:
    model = EmbeddedModel(log=tmp_path / "logs" / "model.log")
    yield model
    await model.close()


async def ask(
    environment: Mapping[str, str], *, words: str = "Say hello.", **changes: str
) -> tuple[int, dict[str, Any]]:
    """POST one chat completion the way a plain HTTP client does."""
    environment = {**environment, **changes}
    url = urlsplit(environment["OPENAI_BASE_URL"])
    question = {"messages": [{"role": "user", "content": words}], "max_tokens": 8}
    body = json.dumps({"model": "smollm2-135m", **question}).encode()
    head = (
        f"POST {url.path}/chat/completions HTTP/1.1\r\nHost: {url.netloc}\r\n"
        f"Authorization: Bearer {environment['OPENAI_API_KEY']}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n"
        "Connection: close\r\n\r\n"
    )
    async with asyncio.timeout(A_MOMENT):
        reader, writer = await asyncio.open_connection(url.hostname, url.port)
        writer.write(head.encode() + body)
        response = await reader.read()
        writer.close()
        await writer.wait_closed()
    status_line, _, rest = response.partition(b"\r\n")
    return int(status_line.split()[1]), json.loads(rest.partition(b"\r\n\r\n")[2])


def children() -> set[int]:
    """The processes started by this one and not yet collected."""
    threads = Path("/proc/self/task").iterdir()
    return {int(child) for t in threads for child in (t / "children").read_text().split()}


def command_line(process_id: int | None) -> str:
    return Path(f"/proc/{process_id}/cmdline").read_text()


async def has_ended(process_id: int) -> bool:
    """Whether a process ends within a bounded time."""
    handle = os.pidfd_open(process_id)
    loop, gone = asyncio.get_running_loop(), asyncio.Event()
    loop.add_reader(handle, gone.set)
    try:
        async with asyncio.timeout(A_MOMENT):
            return await gone.wait()
    finally:
        loop.remove_reader(handle)
        os.close(handle)


@needs_the_model
async def test_it_answers_a_chat_completion_with_its_own_words(model: EmbeddedModel) -> None:
    status, answer = await ask(await model.open())
    assert status == 200
    assert answer["choices"][0]["message"]["content"].strip()
    assert answer["model"] == "smollm2-135m"
    assert answer["usage"]["completion_tokens"] > 0


@needs_the_model
async def test_no_process_runs_before_the_first_connection(model: EmbeddedModel) -> None:
    environment = await model.open()
    assert model.process_id is None
    await ask(environment)
    assert model.process_id is not None


@needs_the_model
async def test_a_wrong_key_is_refused(model: EmbeddedModel) -> None:
    status, answer = await ask(await model.open(), OPENAI_API_KEY="guessed")
    assert status == 401
    assert "choices" not in answer


@needs_the_model
@on_linux
async def test_concurrent_first_calls_share_one_process(model: EmbeddedModel) -> None:
    environment, before = await model.open(), children()
    answers = await asyncio.gather(*(ask(environment) for _ in range(12)))
    assert [status for status, _ in answers] == [200] * 12
    assert children() - before == {model.process_id}


@needs_the_model
@on_linux
async def test_a_process_that_died_is_replaced_at_the_next_call(model: EmbeddedModel) -> None:
    environment = await model.open()
    await ask(environment)
    first = model.process_id
    assert first is not None
    os.kill(first, signal.SIGKILL)
    assert await has_ended(first)
    status, _ = await ask(environment)
    assert status == 200
    assert model.process_id not in {None, first}


@needs_the_model
async def test_closing_leaves_no_process_and_no_listener(model: EmbeddedModel) -> None:
    environment = await model.open()
    await ask(environment)
    process_id = model.process_id
    assert process_id is not None
    await model.close()
    with pytest.raises(ProcessLookupError):
        os.kill(process_id, 0)
    with pytest.raises(ConnectionRefusedError):
        await ask(environment)


@needs_the_model
@on_linux
async def test_closing_while_the_model_loads_leaves_no_process(model: EmbeddedModel) -> None:
    before = children()
    call = asyncio.create_task(ask(await model.open()))
    async with asyncio.timeout(A_MOMENT):
        # The kernel announces no new child, so this asks again at every turn of the loop.
        while not (started := children() - before):
            await asyncio.sleep(0)
    await model.close()
    assert not started & children()
    await asyncio.wait([call], timeout=A_MOMENT)
    assert call.exception() is not None


@needs_the_model
@on_linux
async def test_the_model_process_does_not_outlive_a_killed_parent(tmp_path: Path) -> None:
    parent = await asyncio.create_subprocess_exec(
        sys.executable, "-c", OWNER, str(tmp_path / "model.log"), stdout=PIPE
    )
    assert parent.stdout is not None
    async with asyncio.timeout(A_MOMENT):
        process_id = int(await parent.stdout.readline())
    parent.kill()
    await parent.wait()
    assert await has_ended(process_id)


@needs_the_model
@on_linux
async def test_the_key_is_not_on_the_command_line(model: EmbeddedModel) -> None:
    environment = await model.open()
    await ask(environment)
    command = command_line(model.process_id)
    assert "crewserve.crew.model_server" in command
    assert environment["OPENAI_API_KEY"] not in command


async def test_a_model_that_cannot_start_is_a_503_that_says_why(tmp_path: Path) -> None:
    model = EmbeddedModel(log=tmp_path / "model.log", weights=tmp_path / "absent.gguf")
    try:
        status, answer = await ask(await model.open())
    finally:
        await model.close()
    assert status == 503
    assert answer["error"]["code"] == "model_unavailable"
    assert answer["error"]["type"] == "server_error"
    assert "cannot be started" in answer["error"]["message"]


async def test_two_models_never_share_a_key(tmp_path: Path) -> None:
    first, second = (EmbeddedModel(log=tmp_path / "model.log") for _ in range(2))
    keys = {(await model.open())["OPENAI_API_KEY"] for model in (first, second)}
    await first.close()
    await second.close()
    assert len(keys) == 2
