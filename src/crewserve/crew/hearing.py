"""What a child tells while it runs, as the supervisor takes it."""

from datetime import UTC, datetime

from crewserve.crew.used import to_use
from crewserve.crew.wire import Message
from crewserve.domain.event_log import Channel, Chunk, Entry
from crewserve.domain.output import Level, Line, Stream
from crewserve.domain.pricing import Prices
from crewserve.ports import Run


async def note(run: Run, prices: Prices, raw: list[Message]) -> None:
    """What happened and what was printed, in order."""
    attempt = run.execution.attempt
    await run.note(
        [_line(one, attempt) if "line" in one else _happened(one, prices) for one in raw]
    )


def _happened(raw: Message, prices: Prices) -> Entry | Chunk:
    told = {name: raw[name] for name in ("type", "step", "parent")}
    told["at"] = datetime.fromtimestamp(raw["at"], UTC)
    if "text" in raw:
        return Chunk(**told, call=raw["call"], text=raw["text"])
    used = to_use(raw["used"], prices) if "used" in raw else None
    channel, data = Channel(raw["channel"]), raw["data"]
    return Entry(**told, id=str(raw["id"]), channel=channel, data=data, used=used)


def _line(raw: Message, attempt: int) -> Line:
    level = raw.get("level")
    return Line(
        at=datetime.fromtimestamp(raw["at"], UTC),
        attempt=attempt,
        stream=Stream(raw["stream"]),
        text=raw["line"],
        step=raw["step"],
        level=None if level is None else Level(level),
        logger=raw.get("logger"),
    )
