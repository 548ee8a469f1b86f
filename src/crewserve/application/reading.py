"""Where one reader of a log is, and what it is shown next."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Final, NamedTuple

from crewserve.application.live import Item, OpenText, text_key
from crewserve.domain.event_log import TEXTS, Entry, Wanted
from crewserve.domain.lifecycle import ends

TEXTS_AT_ONCE: Final = 64
"""Texts of which pieces are shown at a time. The others are shown when they are whole."""


@dataclass(slots=True)
class Position:
    """What a reader has seen."""

    sequence: int = 0
    """Of the last entry."""
    shown: dict[str, int] = field(default_factory=dict)
    """How many characters of each text that was not at its end."""

    def copy(self) -> "Position":
        """As it is now."""
        return Position(self.sequence, dict(self.shown))


class Shown(NamedTuple):
    """What a reader is to see, and where it is then."""

    entry: Entry
    position: Position


@dataclass(slots=True)
class Reading:
    """Shows each entry once and in order, and each text in pieces that together are the text.

    A piece that is not in the log has the sequence 0. The entry that keeps the whole text shows
    what is left of it.
    """

    position: Position
    wanted: Wanted
    has_ended: bool = False
    """The last entry was shown."""
    has_gap: bool = False
    """There are entries in the log that come before what was to be shown last."""
    _whole: set[str] = field(default_factory=set)

    def take(self, items: Iterable[Item]) -> Sequence[Shown]:
        """What they say beyond the position, as far as there is no gap."""
        shown: list[Shown] = []
        self.has_gap = False
        for item in items:
            entry = self._piece(item) if isinstance(item, OpenText) else self._entry(item)
            if self.has_gap:
                break
            if entry is not None and self.wanted.includes(entry):
                shown.append(Shown(entry, self.position.copy()))
        return shown

    def _entry(self, entry: Entry) -> Entry | None:
        position = self.position
        if entry.sequence <= position.sequence:
            return None
        if entry.sequence > position.sequence + 1:
            self.has_gap = True
            return None
        position.sequence = entry.sequence
        self.has_ended = ends(entry)
        if entry.type == "attempt_started":
            position.shown.clear()  # of texts that never came to their end
        return self._rest(entry) if entry.type in TEXTS else entry

    def _rest(self, entry: Entry) -> Entry:
        key = text_key(entry.type, str(entry.data.get("call_id")))
        shown = self.position.shown.pop(key, 0)
        self._whole.add(key)
        whole = entry.data.get("chunk")
        if not isinstance(whole, str):
            return entry
        return replace(entry, data={**entry.data, "chunk": whole[shown:], "offset": shown})

    def _piece(self, text: OpenText) -> Entry | None:
        all_shown, key = self.position.shown, text.key
        shown = all_shown.get(key, 0)
        is_too_much = key not in all_shown and len(all_shown) >= TEXTS_AT_ONCE
        if len(text.text) <= shown or key in self._whole or is_too_much:
            return None
        all_shown[key] = len(text.text)
        return text.entry({"chunk": text.text[shown:], "offset": shown})
