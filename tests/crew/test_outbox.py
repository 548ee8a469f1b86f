"""What happened is sent in order, in one line, and without secrets."""

import json
from typing import Any

import pytest

from crewserve.crew.outbox import FULL, Outbox


def events(outbox: Outbox) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(outbox.take())["events"]
    return found


def a_piece(text: str, call: str = "a", type_: str = "llm_stream_chunk") -> dict[str, Any]:
    return {"type": type_, "call": call, "text": text}


def test_nothing_is_sent_of_nothing() -> None:
    assert Outbox().take() == b""


def test_what_was_taken_is_gone() -> None:
    outbox = Outbox()
    outbox.add({"type": "x"})
    assert events(outbox) == [{"type": "x"}]
    assert outbox.take() == b""


def test_pieces_of_one_text_become_one_and_the_order_stays() -> None:
    outbox = Outbox()
    for one in (a_piece("a"), a_piece("b"), {"type": "x"}, a_piece("c"), a_piece("d", "b")):
        outbox.add(one)
    outbox.add(a_piece("e", "b", "llm_thinking_chunk"))
    assert [one.get("text") for one in events(outbox)] == ["ab", None, "c", "d", "e"]


def test_no_secret_leaves(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MY_TOKEN", "correct horse")
    outbox = Outbox()
    outbox.add(
        {"type": "x", "data": {"correct horse": ["a correct horse", {"x": "sk-abcdefghijklmnop"}]}}
    )
    outbox.add(a_piece("sk-abcdef"))
    outbox.add(a_piece("ghijklmnop"))
    sent = outbox.take()
    assert b"horse" not in sent
    assert b"abcdef" not in sent


def test_it_says_when_it_is_full() -> None:
    outbox = Outbox()
    for _ in range(FULL):
        assert not outbox.is_full
        outbox.add({"type": "x"})
    assert outbox.is_full
    outbox.take()
    assert not outbox.is_full
