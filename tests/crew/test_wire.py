import pytest
from hypothesis import given
from hypothesis import strategies as st

from crewserve.crew import wire

FINITE = st.floats(allow_nan=False, allow_infinity=False)
JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=10,
)


@given(JSON)
def test_what_was_encoded_is_decoded(value: object) -> None:
    try:
        line = wire.encode({"value": value})
    except ValueError:
        return  # half characters; refused before they get here
    assert wire.decode(line) == {"value": value}
    assert line.count(b"\n") == 1


@pytest.mark.parametrize("depth", [100, 200, 215, 250])
def test_whatever_depth_can_be_encoded_can_be_decoded(depth: int) -> None:
    value: object = 1
    for _ in range(depth):
        value = [value]
    try:
        line = wire.encode({"value": value})
    except ValueError:
        return
    assert wire.decode(line) == {"value": value}


@pytest.mark.parametrize("line", [b"[1]\n", b"nonsense\n", b"\n"])
def test_anything_but_an_object_is_refused(line: bytes) -> None:
    with pytest.raises(ValueError, match=r"JSON|Expecting"):
        wire.decode(line)
