import pytest

from crewserve.domain.labels import Label, Labels, Value, read_value


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("acme", "acme"),
        ("3", 3),
        ("-0.50", -0.5),
        ("true", True),
        ("false", False),
        ("True", "True"),
        ("null", "null"),
        ("007", "007"),
        ("1e9", "1e9"),
        ("NaN", "NaN"),
        ("٣", "٣"),
        ("123456789012345", 123456789012345),
        ("1234567890123456", "1234567890123456"),
        ('"3"', "3"),
        ('"', '"'),
        ("", ""),
    ],
)
def test_values_are_what_they_look_like(text: str, value: Value) -> None:
    read = read_value(text)
    assert (read, type(read)) == (value, type(value))


@pytest.mark.parametrize("texts", [("1.50", "1.5"), ('"3"', "3"), ('"true"', "true")])
def test_what_reads_alike_is_found_alike(texts: tuple[str, str]) -> None:
    one, other = (Labels(metadata={"n": read_value(text)}) for text in texts)
    assert list(one.each()) == list(other.each())


def test_each_label_has_the_name_that_lists_are_asked_with() -> None:
    labels = Labels(tags=("a", "b", "a"), metadata={"vip": True})
    assert list(labels.each()) == [
        Label("tag", "a"),
        Label("tag", "b"),
        Label("metadata.vip", "true"),
    ]
