"""What one reader sees: every entry once, in order, and each text in pieces that are the text."""

from crewserve.application.live import OpenText, text_key
from crewserve.application.reading import TEXTS_AT_ONCE, Position, Reading
from crewserve.domain.event_log import ALL, Channel, Chunk, Entry, Wanted
from crewserve.testing.builders import NOW, an_entry

CHUNK = "llm_stream_chunk"


def a_text(text: str = "", call: str = "a") -> OpenText:
    return OpenText(Chunk(type=CHUNK, at=NOW, step="s", parent="p", call=call, text=""), text)


def kept(sequence: int, text: str | None, call: str = "a") -> Entry:
    """The entry that keeps a whole text."""
    data = {"call_id": call, "characters": 9} | ({} if text is None else {"chunk": text})
    return an_entry(CHUNK, channel=Channel.LLM, sequence=sequence, data=data)


def numbered(*sequences: int) -> list[Entry]:
    return [an_entry(sequence=sequence) for sequence in sequences]


def a_reading(sequence: int = 0, wanted: Wanted = ALL) -> Reading:
    return Reading(Position(sequence), wanted)


def test_what_was_seen_is_not_shown_again() -> None:
    reading = a_reading(1)
    shown = reading.take(numbered(1, 2, 2, 1, 3))
    assert [one.entry.sequence for one in shown] == [2, 3]
    assert [one.position.sequence for one in shown] == [2, 3]


def test_before_a_gap_all_is_shown_and_nothing_after_it() -> None:
    reading = a_reading()
    assert [one.entry.sequence for one in reading.take(numbered(1, 2, 4))] == [1, 2]
    assert (reading.has_gap, reading.position.sequence) == (True, 2)
    assert [one.entry.sequence for one in reading.take(numbered(3, 4))] == [3, 4]
    assert not reading.has_gap


def test_filters_hide_entries_and_the_position_moves_on() -> None:
    reading = a_reading(wanted=Wanted(types=["wanted"]))
    shown = reading.take([*numbered(1, 2), an_entry("wanted", sequence=3)])
    assert [(one.entry.type, one.position.sequence) for one in shown] == [("wanted", 3)]


def test_the_last_entry_is_the_end_unless_a_flow_calls_its_own_so() -> None:
    reading = a_reading()
    reading.take([an_entry("execution_completed", sequence=1, id="a flow's")])
    assert not reading.has_ended
    reading.take([an_entry("execution_completed", sequence=2)])
    assert reading.has_ended


def test_a_text_is_shown_in_pieces_and_its_entry_shows_what_is_left() -> None:
    reading, text = a_reading(), a_text()
    contents = []
    for grown in ("Once", "Once upon", "Once upon a"):
        text.text = grown
        contents += [one.entry.data for one in reading.take([text, text])]
    [last] = reading.take([kept(1, "Once upon a time")])
    assert [(one["offset"], one["chunk"]) for one in contents] == [
        (0, "Once"),
        (4, " upon"),
        (9, " a"),
    ]
    assert (last.entry.data["offset"], last.entry.data["chunk"]) == (11, " time")
    assert last.position.shown == {}


def test_a_reader_that_comes_back_in_the_middle_misses_and_doubles_nothing() -> None:
    text = a_text("Once upon")
    [before] = a_reading().take([text])
    text.text += " a time"
    for items, expected in (([text], " a time"), ([kept(1, "Once upon a time")], " a time")):
        again = Reading(before.position.copy(), ALL)
        assert [one.entry.data["chunk"] for one in again.take(items)] == [expected]


def test_a_text_whose_whole_was_shown_is_not_shown_again() -> None:
    """Its last piece may come late to a reader that has read it in the log."""
    reading = a_reading()
    reading.take([kept(1, "Once")])
    assert reading.take([a_text("Once")]) == []


def test_a_text_that_is_not_kept_shows_only_pieces() -> None:
    reading = a_reading()
    reading.take([a_text("Once")])
    [one] = reading.take([kept(1, None)])
    assert one.entry.data == {"call_id": "a", "characters": 9}


def test_texts_that_are_written_at_the_same_time_do_not_mix() -> None:
    reading = a_reading()
    shown = reading.take([a_text("one", "a"), a_text("two", "b"), a_text("one more", "a")])
    assert [one.entry.data["chunk"] for one in shown] == ["one", "two", " more"]
    assert shown[-1].position.shown == {text_key(CHUNK, "a"): 8, text_key(CHUNK, "b"): 3}
    assert shown[0].position.shown == {text_key(CHUNK, "a"): 3}


def test_so_many_texts_at_a_time_are_shown_in_pieces_and_the_others_whole() -> None:
    reading = a_reading()
    texts = [a_text("x", str(number)) for number in range(TEXTS_AT_ONCE + 1)]
    assert len(reading.take(texts)) == TEXTS_AT_ONCE
    [whole] = reading.take([kept(1, "xyz", str(TEXTS_AT_ONCE))])
    assert whole.entry.data["chunk"] == "xyz"


def test_what_an_attempt_left_unfinished_is_forgotten_with_the_next() -> None:
    reading = a_reading()
    reading.take([a_text("half a")])
    [one] = reading.take([an_entry("attempt_started", sequence=1)])
    assert one.position.shown == {}
