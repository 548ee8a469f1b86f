"""What is written about the code is true."""

import re
import sys
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType

import pytest

from crewserve.domain.errors import CrewserveError
from crewserve.domain.failure import FailureCode
from crewserve.domain.status import Status
from crewserve.http.problems import HTTP_CODES, STATUS

ROOT = Path(__file__).parent.parent
ERRORS = (ROOT / "docs/errors.md").read_text()


def generator() -> ModuleType:
    spec = spec_from_file_location("generate_docs", ROOT / "scripts/generate_docs.py")
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("name", [".env.example", "docs/state-machine.md"])
def test_generated_files_are_up_to_date(name: str) -> None:
    assert (ROOT / name).read_text() == generator().generated()[ROOT / name], "run `make docs`"


@pytest.mark.parametrize("enum", [Status, FailureCode])
def test_every_member_says_what_it_means(enum: type[Status]) -> None:
    assert generator().meanings_of(enum).keys() == {member.value for member in enum}


def test_every_error_has_an_http_status() -> None:
    assert set(CrewserveError.__subclasses__()) == set(STATUS)


@pytest.mark.parametrize(
    "code",
    [
        *(error.code for error in STATUS),
        *HTTP_CODES.values(),
        *FailureCode,
        *("malformed_json", "malformed_id", "invalid_parameter", "internal_error"),
    ],
)
def test_every_code_is_documented(code: str) -> None:
    assert f"`{code}`" in ERRORS


def test_every_test_that_an_attack_is_shown_by_is_there() -> None:
    attacks, file = (ROOT / "docs/security.md").read_text().partition("## Attacks")[2], ""
    for path, name in re.findall(r"`([\w/]+\.py)?(?:::(\w+))?`", attacks):
        file = path or file
        if path or name:
            assert f"def {name}" in (ROOT / "tests" / file).read_text(), (file, name)
