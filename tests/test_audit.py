"""What the audit of dependencies makes of an answer."""

from typing import Any

import pytest

from scripts import audit

SOUND = {"name": "a", "version": "1", "vulns": []}
VULNERABLE = {"name": "b", "version": "2", "vulns": [{"id": "CVE-1"}]}
UNKNOWN = {"name": "c", "version": "3", "skip_reason": "not found"}


@pytest.mark.parametrize(
    ("found", "code", "said"),
    [
        ([SOUND], 0, "Audited 1: 0 vulnerable"),
        ([SOUND, VULNERABLE, UNKNOWN], 1, "b 2: CVE-1"),
        ([UNKNOWN], 0, "NOT AUDITED"),
        ([], 0, "NOT AUDITED"),
    ],
)
def test_only_a_known_vulnerability_fails(
    found: list[dict[str, Any]], code: int, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert audit.judge(found) == code
    assert said in capsys.readouterr().out
