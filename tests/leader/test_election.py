"""One process leads; when it ends, another one does."""

import asyncio
import sys
from pathlib import Path

from crewserve.leader.election import Election

LEAD_FOR_EVER = """
import signal, sys
from pathlib import Path
from crewserve.leader.election import Election
election = Election(Path(sys.argv[1]))
print(election.win_at_once(), flush=True)
signal.pause()
"""


def test_only_one_leads_at_a_time(tmp_path: Path) -> None:
    first, second = Election(tmp_path / "lock"), Election(tmp_path / "lock")
    assert first.win_at_once()
    assert not second.win_at_once()
    first.close()
    assert second.win_at_once()
    second.close()


async def test_when_the_leader_is_killed_whoever_waits_wins(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    command = [sys.executable, "-c", LEAD_FOR_EVER, str(path)]
    leader = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
    assert leader.stdout is not None
    assert await leader.stdout.readline() == b"True\n"
    election = Election(path)
    assert not election.win_at_once()
    winning = asyncio.create_task(election.win())
    await asyncio.wait([winning], timeout=0.1)
    assert not winning.done()
    leader.kill()
    await asyncio.wait_for(winning, 10)
    await leader.wait()
    election.close()


async def test_whoever_stops_waiting_does_not_keep_others_from_leading(tmp_path: Path) -> None:
    leader, waiting, last = [Election(tmp_path / "lock") for _ in range(3)]
    assert leader.win_at_once()
    winning = asyncio.create_task(waiting.win())
    await asyncio.wait([winning], timeout=0.05)
    winning.cancel()
    waiting.close()
    leader.close()
    await asyncio.wait_for(last.win(), 10)
    last.close()
