from datetime import timedelta
from decimal import Decimal
from pathlib import Path

import pytest
from pydantic import SecretStr, ValidationError

from crewserve.domain.pricing import Price
from crewserve.settings import Settings

URL = SecretStr("postgresql://me:hunter2@there/mine")
PRICES = '{"a/b": {"prompt": 0.15, "completion": 0.6}}'
BROKER = SecretStr("amqp://me:hunter2@there/mine")


@pytest.fixture(autouse=True)
def nothing_is_set(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("DATABASE_URL", "BROKER_URL", "LEASE_SECONDS", "PRICES"):
        monkeypatch.delenv(f"CREWSERVE_{name}", raising=False)


def test_a_lease_is_longer_where_a_database_server_may_fail_over() -> None:
    assert Settings().lease == timedelta(seconds=30)
    assert Settings(database_url=URL).lease == timedelta(seconds=120)


@pytest.mark.parametrize("seconds", ["30", "45"])
def test_a_lease_that_is_configured_is_kept(monkeypatch: pytest.MonkeyPatch, seconds: str) -> None:
    monkeypatch.setenv("CREWSERVE_LEASE_SECONDS", seconds)
    assert Settings(database_url=URL).lease == timedelta(seconds=int(seconds))


def test_the_password_is_in_no_text_of_the_settings() -> None:
    settings = Settings(database_url=URL, broker_url=BROKER)
    assert "hunter2" not in f"{settings!r} {settings} {settings.model_dump_json()}"


@pytest.mark.parametrize(("text", "age"), [("90d", 90 * 86400), ("12h", 43200), ("45s", 45)])
def test_an_age_has_its_unit(monkeypatch: pytest.MonkeyPatch, text: str, age: int) -> None:
    monkeypatch.setenv("CREWSERVE_RETENTION_AGE", text)
    assert Settings().retention_age == timedelta(seconds=age)


@pytest.mark.parametrize("text", ["90", "0d", "-1d", "1w", "1 d", "P1D", "1d2h"])
def test_what_is_no_age_is_refused(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setenv("CREWSERVE_RETENTION_AGE", text)
    with pytest.raises(ValidationError, match="CREWSERVE_RETENTION_AGE"):
        Settings()


def test_an_empty_url_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CREWSERVE_DATABASE_URL", "")
    assert Settings().database_url is None


def test_a_broker_needs_a_database_that_hosts_can_share(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CREWSERVE_BROKER_URL", BROKER.get_secret_value())
    with pytest.raises(ValidationError, match="needs CREWSERVE_DATABASE_URL") as refusal:
        Settings()
    assert "hunter2" not in str(refusal.value)


def test_only_brokers_that_are_known_are_taken() -> None:
    with pytest.raises(ValidationError, match="amqp:// or redis://"):
        Settings(database_url=URL, broker_url=SecretStr("kafka://there"))


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("", PRICES),
        ("prices.json", PRICES),
        ("prices.toml", '["a/b"]\nprompt = 0.15\ncompletion = 0.6'),
    ],
)
def test_prices_are_exact_wherever_they_are_written(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str, content: str
) -> None:
    if name:
        (tmp_path / name).write_text(content)
    monkeypatch.setenv("CREWSERVE_PRICES", name or content)
    expected = Price(prompt=Decimal("0.15"), completion=Decimal("0.6"))
    assert Settings().price_table() == {"a/b": expected}


@pytest.mark.parametrize(
    "wrong",
    [
        "no-such-file.json",
        "{",
        '{"a/b": {"prompt": 1}}',
        '{"a/b": {"prompt": -1, "completion": 1}}',
        '{"a/b": {"prompt": NaN, "completion": 1}}',
        '{"a/b": {"prompt": 1, "completion": 1, "input": 1}}',
        '["a/b"]',
    ],
)
def test_prices_that_make_no_sense_are_refused(monkeypatch: pytest.MonkeyPatch, wrong: str) -> None:
    monkeypatch.setenv("CREWSERVE_PRICES", wrong)
    with pytest.raises(ValidationError, match="CREWSERVE_PRICES"):
        Settings()


@pytest.mark.parametrize(
    "url", ["http://id.example.com", "id.example.com", "http://127.0.0.1.evil"]
)
def test_an_issuer_is_asked_over_https(url: str) -> None:
    with pytest.raises(ValidationError, match="https://"):
        Settings(oidc_issuer=url, oidc_audience="me")


def test_an_issuer_needs_an_audience() -> None:
    with pytest.raises(ValidationError, match="needs it as well"):
        Settings(oidc_issuer="https://id.example.com")
    assert Settings(oidc_issuer="http://127.0.0.1:9", oidc_audience="me").oidc_audience == "me"
