"""The files of `deploy/` name nothing that is not there, and no secret."""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from crewserve.settings import Settings

ROOT = Path(__file__).parent.parent
COMPOSE = yaml.safe_load((ROOT / "deploy/compose.yaml").read_text())
DOCKERFILE = (ROOT / "deploy/Dockerfile").read_text()
SERVICES: Mapping[str, Mapping[str, Any]] = COMPOSE["services"]
OURS = ("api", "worker")
SECRETS = {"POSTGRES_PASSWORD": "s3cret", "RABBITMQ_PASSWORD": "s3cret"}


def interpolated(text: str, variables: Mapping[str, str]) -> str:
    """As Compose does it: ``${NAME:-otherwise}`` and ``${NAME:?required}``, one in another."""
    innermost = re.compile(r"\$\{(\w+):([-?])([^${}]*)\}")
    while found := innermost.search(text):
        name, kind, rest = found.groups()
        value = variables.get(name) or (rest if kind == "-" else None)
        assert value is not None, f"{name} must be set"
        text = text[: found.start()] + value + text[found.end() :]
    return text


def environment(service: str, **variables: str) -> dict[str, str]:
    given = {**SECRETS, **variables}
    return {
        name: interpolated(text, given) for name, text in SERVICES[service]["environment"].items()
    }


def texts(node: Any) -> Iterator[tuple[str, str]]:
    """Every text in *node* with the key that it is under."""
    for key, value in node.items():
        if isinstance(value, dict):
            yield from texts(value)
        else:
            yield key, str(value)


@pytest.mark.parametrize("service", OURS)
def test_every_setting_is_one_of_ours(service: str) -> None:
    known = {field.alias for field in Settings.model_fields.values()}
    assert set(SERVICES[service]["environment"]) <= known


@pytest.mark.parametrize("service", OURS)
@pytest.mark.parametrize(
    ("chosen", "broker"),
    [
        ({}, "amqp://crewserve:s3cret@rabbitmq:5672//"),
        ({"BROKER_URL": "redis://redis:6379/0"}, "redis://redis:6379/0"),
    ],
)
def test_the_settings_are_valid(service: str, chosen: dict[str, str], broker: str) -> None:
    values: dict[str, Any] = environment(service, **chosen)
    settings = Settings(_env_file=None, **values)
    assert settings.database_url is not None
    expected = "postgresql://crewserve:s3cret@postgres:5432/crewserve"
    assert settings.database_url.get_secret_value() == expected
    assert settings.broker_url is not None
    assert settings.broker_url.get_secret_value() == broker


@pytest.mark.parametrize("service", OURS)
def test_a_container_is_given_the_time_to_drain(service: str) -> None:
    grace = int(SERVICES[service]["stop_grace_period"].removesuffix("s"))
    drain = float(SERVICES[service]["environment"]["CREWSERVE_DRAIN_SECONDS"])
    assert grace >= drain + 20


def test_no_secret_stands_in_the_file() -> None:
    for key, text in texts(COMPOSE):
        if re.search(r"PASS|KEY|SECRET|TOKEN", key):
            assert re.fullmatch(r"\$\{\w+:(\?.+|-)\}", text), key
        for user_info in re.findall(r"://([^@]*)@", text):
            assert re.fullmatch(r"\w+:\$\{\w+:\?.+\}", user_info), key


def test_images_are_pinned() -> None:
    images = [service["image"] for service in SERVICES.values() if "build" not in service]
    images += re.findall(r"^FROM (\S+)", DOCKERFILE, re.MULTILINE)
    assert len(images) == 5
    assert [image for image in images if not re.search(r":\d+\.\d+(\.\d+)?(-\w+)*$", image)] == []


def test_nothing_is_published_beyond_this_machine() -> None:
    ports = [port for service in SERVICES.values() for port in service.get("ports", [])]
    assert ports
    assert all(port.startswith("127.0.0.1:") for port in ports)


def test_whoever_can_be_asked_has_a_health_check() -> None:
    assert {name for name, service in SERVICES.items() if "healthcheck" not in service} == {
        "worker"
    }


def test_volumes_are_declared() -> None:
    used = {
        volume.partition(":")[0]
        for service in SERVICES.values()
        for volume in service.get("volumes", [])
    }
    assert used == set(COMPOSE["volumes"])


def test_the_image_runs_as_nobody_in_particular() -> None:
    last = DOCKERFILE.rpartition("\nFROM ")[2]
    assert re.findall(r"^USER (\S+)", last, re.MULTILINE) == ["10001"]


def test_the_image_is_built_from_files_that_are_there_and_are_sent() -> None:
    sent = (ROOT / ".dockerignore").read_text().split()
    copied = re.findall(r"^COPY (?!--from)(.+) \S+$", DOCKERFILE, re.MULTILINE)
    names = {name for line in copied for name in line.split()}
    assert {"pyproject.toml", "uv.lock", "src"} <= names
    assert all((ROOT / name).exists() and f"!{name}" in sent for name in names)
