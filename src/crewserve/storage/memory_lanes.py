"""What `lines` and `lanes` do, in dicts."""

from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime

from crewserve.domain.errors import LaneFull, QueueFull
from crewserve.domain.execution import Execution, is_in, standing
from crewserve.domain.flow_control import FlowControl, QueueState, Standing, WhenFull
from crewserve.domain.ids import ExecutionId, QueueName
from crewserve.domain.realm import Realm

EARLY, HELD, READY, TAKEN = Standing


@dataclass(slots=True, eq=False)
class MemoryLanes:
    """Where each of *rows* stands that has not ended."""

    rows: Mapping[ExecutionId, Execution]
    standings: dict[ExecutionId, Standing] = field(default_factory=dict)
    places: dict[ExecutionId, int] = field(default_factory=dict)
    paused: dict[QueueName, datetime] = field(default_factory=dict)

    def join(self, row: Execution, asked: Standing | None) -> None:
        """Give it a place in line."""
        lane = self._places(row, self._lane(row, READY, HELD))
        taken = self._places(row, self._standing(TAKEN))
        ready = self._places(row, self._standing(READY))
        self.places[row.id] = max([*lane, *taken, min(ready, default=-1)]) + 1
        self.stand(row, asked)

    def stand(self, row: Execution, asked: Standing | None) -> None:
        """Where it asks to, unless its queue is paused."""
        if asked is None:
            self.standings.pop(row.id, None)
        else:
            is_held = asked is READY and row.turn.queue in self.paused
            self.standings[row.id] = HELD if is_held else asked

    def forget(self, execution_id: ExecutionId) -> None:
        self.standings.pop(execution_id, None)
        self.places.pop(execution_id, None)

    def in_line(self, *standings: Standing) -> list[Execution]:
        """In the order in which they are claimed."""
        return sorted(self._standing(*standings), key=self._order)

    def claimable(self) -> list[Execution]:
        """In the order in which they are claimed."""
        return [row for row in self.in_line(READY) if row.turn.queue not in self.paused]

    def refusal(self, row: Execution, control: FlowControl) -> QueueFull | LaneFull | None:
        """Why it cannot be accepted now."""
        most = control.max_pending
        if most is not None and len(self._lane(row, EARLY, HELD, READY)) >= most:
            return QueueFull(row.turn.queue, most)
        is_early = standing(row, row.created_at) is EARLY
        if control.when_full is not WhenFull.REJECT or is_early:
            return None
        limited = [one for one in self._lane(row, HELD, READY, TAKEN) if one.turn.max_running]
        places = row.turn.max_running or 0
        return LaneFull(row.flow, row.turn.key, places) if len(limited) >= places else None

    def oldest_but(self, row: Execution, kept: int) -> list[Execution]:
        """All others of its lane that may begin or run and stop by themselves, but the newest."""
        found = [one for one in self._lane(row, HELD, READY, TAKEN) if one.cancel is None]
        others = [one for one in found if one.id != row.id]
        return sorted(others, key=lambda one: one.id, reverse=True)[kept:]

    def admit(self, left: Execution) -> list[Execution]:
        """Give the free places of its lane to those that are held; answer with those."""
        admitted: list[Execution] = []
        held = [one for one in self._lane(left, HELD) if one.turn.queue not in self.paused]
        for head in sorted(held, key=self._order):
            taken = [one for one in self._lane(left, READY, TAKEN) if one.turn.max_running]
            if len(taken) >= (head.turn.max_running or 0):
                break
            self.standings[head.id] = READY
            admitted.append(head)
        return admitted

    def let_in(self, limit: int, now: datetime) -> list[Execution]:
        """Those whose time has come, if nothing else holds them."""
        found: list[Execution] = []
        for row in self._early()[:limit]:
            if row.available_at > now:
                break
            self.join(row, standing(row, now))
            if self.standings[row.id] is READY:
                found.append(row)
            elif row.turn.max_running is not None:
                found += self.admit(row)
        return found

    def next_due(self) -> datetime | None:
        early = self._early()
        return early[0].available_at if early else None

    def pause(self, queue: QueueName, now: datetime) -> None:
        self.paused.setdefault(queue, now)
        for row in self._standing(READY):
            if row.turn.queue == queue:
                self.standings[row.id] = HELD

    def resume(self, queue: QueueName, limit: int) -> tuple[list[Execution], bool]:
        """See `Lanes.resume`."""
        held = [row for row in self.in_line(HELD) if row.turn.queue == queue]
        parked = [row for row in held if row.turn.max_running is None]
        for row in parked[:limit]:
            self.standings[row.id] = READY
        if len(parked) >= limit:
            return parked[:limit], True
        self.paused.pop(queue, None)
        admitted = [one for row in held if row not in parked for one in self.admit(row)]
        return parked + admitted, False

    def queues(self, realm: Realm | None) -> list[QueueState]:
        """All that are paused or have something in them, by name."""
        rows = [row for row in self._standing(*Standing) if is_in(row, realm)]
        names = {row.turn.queue for row in rows} | self.paused.keys()
        return [
            self._state(name, [row for row in rows if row.turn.queue == name])
            for name in sorted(names)
        ]

    def _state(self, name: QueueName, rows: Collection[Execution]) -> QueueState:
        counts = Counter(self.standings[row.id] for row in rows)
        waiting = [row.created_at for row in rows if self.standings[row.id] in (READY, HELD)]
        return QueueState(
            name=name,
            ready=counts[READY],
            running=counts[TAKEN],
            held=counts[HELD],
            early=counts[EARLY],
            oldest=min(waiting, default=None),
            paused_at=self.paused.get(name),
        )

    def position(self, execution_id: ExecutionId, limit: int) -> int | None:
        """See `ExecutionReader.position`."""
        row, stands = self.rows.get(execution_id), self.standings.get(execution_id)
        if row is None or stands not in (HELD, READY):
            return None
        line = self._lane(row, HELD) if stands is HELD else self._standing(READY)
        of_queue = [one for one in line if one.turn.queue == row.turn.queue]
        position = 1 + sum(self._order(one) < self._order(row) for one in of_queue)
        return position if position <= limit else None

    def _early(self) -> list[Execution]:
        return sorted(self._standing(EARLY), key=lambda row: row.available_at)

    def _standing(self, *standings: Standing) -> Iterator[Execution]:
        return (self.rows[one] for one, stands in self.standings.items() if stands in standings)

    def _lane(self, row: Execution, *standings: Standing) -> list[Execution]:
        lane = (row.flow, row.turn.key)
        return [one for one in self._standing(*standings) if (one.flow, one.turn.key) == lane]

    def _places(
        self, row: Execution, others: Collection[Execution] | Iterator[Execution]
    ) -> list[int]:
        return [self.places[one.id] for one in others if one.turn.priority == row.turn.priority]

    def _order(self, row: Execution) -> tuple[int, int, ExecutionId]:
        return -row.turn.priority, self.places[row.id], row.id
