import pytest
from hypothesis import given
from hypothesis import strategies as st

from crewserve.domain.redaction import REDACTED, redact

SECRETS = st.text(st.characters(categories=["L", "N"]), min_size=8, max_size=40)


@given(SECRETS, st.text(), st.text())
def test_a_known_secret_never_survives(secret: str, before: str, after: str) -> None:
    assert secret not in redact(f"{before}{secret}{after}", [secret]).replace(REDACTED, "")


@pytest.mark.parametrize(
    "credential",
    [
        "sk-proj-abcdefghijklmnop1234",
        "AIzaSyA1234567890abcdefghijklmnop",
        "csk_0123456789ab_" + "aB-_" * 11,
        "Bearer abc.def.ghi-jkl",
        "ghp_abcdefghijklmnopqrstuvwxyz012345",
    ],
)
def test_what_looks_like_a_credential_is_removed(credential: str) -> None:
    shown = redact(f"401: incorrect key provided: {credential}.")
    assert credential.removeprefix("Bearer ") not in shown
    assert REDACTED in shown


def test_ordinary_text_is_left_alone() -> None:
    text = "ValueError: sentence_count must be 1 or more (task-skeleton, basket)"
    assert redact(text) == text
