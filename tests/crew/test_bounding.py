"""What a flow tells is small, plain and without anything called like a secret."""

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from enum import Enum
from pathlib import Path
from typing import Any

import pytest

from crewserve.crew.bounding import MAX_CHARACTERS, MAX_ITEMS, Bounded
from crewserve.domain.redaction import REDACTED


class Colour(Enum):
    RED = "red"


class Opaque:
    def __repr__(self) -> str:
        return "sk-secret"


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (None, None),
        (True, True),
        (1.5, 1.5),
        ("ü", "ü"),
        (Colour.RED, "red"),
        (Path("/tmp/x"), "/tmp/x"),
        (datetime(2026, 1, 1, tzinfo=UTC), "2026-01-01 00:00:00+00:00"),
        (ValueError("no"), "ValueError: no"),
        (ValueError, "ValueError"),
        ({"a": (1, {2})}, {"a": [1, [2]]}),
        (b"bytes", "<bytes>"),
        (Opaque(), "<Opaque>"),
        ([Opaque()], ["<Opaque>"]),
        pytest.param(10**5000, "… [cut]", id="huge"),
    ],
)
def test_only_plain_data_is_copied(value: Any, expected: Any) -> None:
    assert Bounded().copy(value) == expected


def test_a_copy_does_not_change_with_what_was_copied() -> None:
    messages = [{"role": "user"}]
    copied = Bounded().copy(messages)
    messages[0]["role"] = "assistant"
    assert copied == [{"role": "user"}]


def test_all_text_together_is_bounded_and_the_cut_is_marked() -> None:
    copied = Bounded().copy(["x" * (MAX_CHARACTERS - 1), "yyy", "z"])
    assert copied[1:] == ["y… [cut]", "… [cut]"]
    assert len(copied[0]) == MAX_CHARACTERS - 1


def test_long_lists_and_mappings_are_cut() -> None:
    assert Bounded().copy(range(MAX_ITEMS + 5))[-2:] == [MAX_ITEMS - 1, "… [cut]"]
    copied = Bounded().copy({str(number): number for number in range(MAX_ITEMS + 5)})
    assert (len(copied), copied["… [cut]"]) == (MAX_ITEMS + 1, 5)


def test_what_contains_itself_ends_somewhere() -> None:
    endless: list[Any] = []
    endless.append(endless)
    assert "cut" in json.dumps(Bounded().copy(endless))


@pytest.mark.parametrize(
    "name", ["api_key", "apiKey", "OPENAI_API_KEY", "access_token", "password", "Authorization"]
)
def test_what_is_called_like_a_secret_is_not_shown(name: str) -> None:
    told: Mapping[str, Any] = {"tool": {name: "anything"}}
    assert Bounded().copy(told) == {"tool": {name: REDACTED}}
    assert Bounded().field(name, "anything") == REDACTED


@pytest.mark.parametrize("name", ["total_tokens", "keyword", "monkey", "max_tokens", "key_points"])
def test_other_names_are(name: str) -> None:
    assert Bounded().field(name, 3) == 3
