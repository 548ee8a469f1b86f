"""Every setting, read once from the environment and from `.env` in the current folder.

Only `bootstrap` and `cli` read it; parts receive values. ``.env.example`` is generated from here.
"""

import json
import os
import re
import tomllib
from collections.abc import Mapping
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any, Literal

from annotated_types import Ge, Gt, Le
from dotenv import dotenv_values
from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SecretStr,
    StringConstraints,
    ValidationInfo,
    field_validator,
)
from pydantic_core import PydanticCustomError
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from crewserve.domain.ages import read_age
from crewserve.domain.pricing import Price, Prices
from crewserve.domain.rate_limit import parse as parse_limit

ENV_FILE = ".env"
BROKERS = frozenset({"amqp", "amqps", "redis", "rediss"})
_SECRET = re.compile(r"CREWSERVE_.*(URL|KEY|KEYS|SECRET|TOKEN|PASSWORD)")
_SAFE_URL = re.compile(r"https://.|http://(127\.0\.0\.1|localhost|\[::1\])[:/]")
DISTRIBUTED_LEASE = timedelta(seconds=120)


Dollars = Annotated[Decimal, Ge(0), Le(100_000)]


class GivenPrice(BaseModel):
    """A `Price` as it is written."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    prompt: Dollars
    completion: Dollars
    cached: Dollars | None = None


def read_prices(text: str) -> Any:
    """*text* is JSON, or the path of a file of JSON or TOML."""
    try:
        if text.lstrip().startswith("{"):
            return json.loads(text, parse_float=Decimal)
        content = Path(text).read_text()
        if text.endswith(".toml"):
            return tomllib.loads(content, parse_float=Decimal)
        return json.loads(content, parse_float=Decimal)
    except (OSError, ValueError) as error:
        message = "it can be read neither as JSON nor as the path of such a file: {why}"
        raise PydanticCustomError("prices", message, {"why": str(error)}) from error


Age = Annotated[timedelta, BeforeValidator(read_age), Gt(timedelta())]


class Settings(BaseSettings):
    """A field is called in the environment as its alias says."""

    model_config = SettingsConfigDict(
        env_file=ENV_FILE,
        env_ignore_empty=True,
        extra="ignore",
        frozen=True,
        hide_input_in_errors=True,
        populate_by_name=True,
        use_attribute_docstrings=True,
    )

    gemini_api_key: SecretStr | None = Field(None, alias="GEMINI_API_KEY")
    """Flows use Gemini when this is set and MODEL is not."""

    openai_api_key: SecretStr | None = Field(None, alias="OPENAI_API_KEY")
    """Flows use OpenAI when this is set, and neither MODEL nor GEMINI_API_KEY is."""

    model: str | None = Field(None, alias="MODEL")
    """The model of agents that name none, as provider/name. Without it and without a key above,
    flows use a small model that runs on this machine."""

    api_host: str = Field("127.0.0.1", alias="API_HOST")
    """Address to listen on."""

    api_port: Annotated[int, Ge(0), Le(65535)] = Field(8000, alias="API_PORT")
    """TCP port; 0 lets the system choose."""

    api_workers: Annotated[int, Ge(1)] = Field(1, alias="CREWSERVE_API_WORKERS")
    """Processes that answer requests, for more of them than one can. One of them also runs the
    executions; when it dies, another does."""

    allowed_hosts: Annotated[list[str], NoDecode] = Field([], alias="CREWSERVE_ALLOWED_HOSTS")
    """Names, comma-separated, under which the server may be asked, as flows.example.com or
    *.example.com. Without it, any name when it listens to others, and only names of this machine
    when it listens on loopback. Behind a proxy on this machine, name what that is asked for."""

    cors_origins: Annotated[list[str], NoDecode] = Field([], alias="CREWSERVE_CORS_ORIGINS")
    """Origins, comma-separated, as https://app.example.com, whose pages may use the API from a
    browser; *: all, but without cookies. Without it, none but its own."""

    trusted_proxies: Annotated[list[str], NoDecode] = Field(
        ["127.0.0.1", "::1"], alias="CREWSERVE_TRUSTED_PROXIES"
    )
    """Addresses or networks, comma-separated, of proxies that are believed who asks and whether by
    https (X-Forwarded-For, X-Forwarded-Proto)."""

    data_dir: Path = Field(Path(".crewserve"), alias="CREWSERVE_DATA_DIR")
    """Folder of the database, of each execution's files and of CrewAI's own storage."""

    database_url: SecretStr | None = Field(None, alias="CREWSERVE_DATABASE_URL")
    """PostgreSQL, as postgresql://user:password@host:5432/database; several hosts may share it.
    Without it, SQLite in the data folder."""

    broker_url: SecretStr | None = Field(None, alias="CREWSERVE_BROKER_URL")
    """RabbitMQ as amqp://user:password@host:5672/vhost, or Redis as redis://host:6379/0. With it,
    Celery delivers executions to `crewserve worker` and the API runs none itself. It needs
    CREWSERVE_DATABASE_URL."""

    redis_visibility_seconds: Annotated[float, Gt(0)] = Field(
        86400.0, alias="CREWSERVE_REDIS_VISIBILITY_SECONDS"
    )
    """How long Redis waits for a worker's acknowledgement before it delivers again. An execution
    that takes longer still runs once; its messages come again and do nothing."""

    slots: Annotated[int, Ge(1)] = Field(256, alias="CREWSERVE_SLOTS")
    """Executions that run at the same time at most. Memory is watched as well."""

    recycle_executions: Annotated[int, Ge(1)] | None = Field(
        None, alias="CREWSERVE_RECYCLE_EXECUTIONS"
    )
    """After how many executions the template process, of which each execution's process is a copy,
    is replaced by a new one. Without it, never for this reason."""

    recycle_growth_mib: Annotated[int, Ge(1)] | None = Field(
        None, alias="CREWSERVE_RECYCLE_GROWTH_MIB"
    )
    """The same, when its memory has grown by so many MiB since it had loaded the flows."""

    lease_seconds: Annotated[float, Gt(0)] = Field(30.0, alias="CREWSERVE_LEASE_SECONDS")
    """How long a server may stay silent before what it ran is given up. With
    CREWSERVE_DATABASE_URL the default is 120: a failover of the database must fit in."""

    drain_seconds: Annotated[float, Ge(0)] = Field(10.0, alias="CREWSERVE_DRAIN_SECONDS")
    """How long running executions may go on when the server is stopped. What has not ended by then
    goes on elsewhere, or after the next start, from its last finished step."""

    event_content: bool = Field(default=False, alias="CREWSERVE_EVENT_CONTENT")
    """Whether the event log keeps what people, models and tools say: prompts, answers, arguments,
    outputs. Without it, it keeps that and when they said something. Results, inputs and states of
    steps are kept in any case: they are what an execution is."""

    retention_age: Age | None = Field(None, alias="CREWSERVE_RETENTION_AGE")
    """How long executions are kept after their end, with all that belongs to them: 90d, 12h or 30m.
    Without it, for ever."""

    retention_count: Annotated[int, Ge(1)] | None = Field(None, alias="CREWSERVE_RETENTION_COUNT")
    """How many executions that have ended are kept, the newest. Without it, all of them."""

    retention_archive: Path | None = Field(None, alias="CREWSERVE_RETENTION_ARCHIVE")
    """Folder in which executions are written down before they are forgotten: one file of JSON lines
    for each day. Without it, they are not."""

    log_format: Literal["console", "json"] = Field("console", alias="CREWSERVE_LOG_FORMAT")
    """How lines of the log look: console for people, json for collectors of logs."""

    access_log: bool = Field(default=True, alias="CREWSERVE_ACCESS_LOG")
    """Whether each request is a line of the log, except those for health and metrics."""

    metrics_port: Annotated[int, Ge(0), Le(65535)] | None = Field(
        None, alias="CREWSERVE_METRICS_PORT"
    )
    """TCP port of a worker's `/metrics`, on API_HOST; 0 lets the system choose. Servers answer that
    themselves; without it, workers do not."""

    prices: Annotated[dict[str, GivenPrice], NoDecode] = Field({}, alias="CREWSERVE_PRICES")
    """What models cost, in US dollars for a million tokens: a file of JSON or TOML, or the JSON
    itself, as {"openai/gpt-4o-mini": {"prompt": 0.15, "cached": 0.075, "completion": 0.6}}. Of
    other models it is not known. The small model that runs on this machine costs nothing."""

    auth: Literal["auto", "none", "required"] = Field("auto", alias="CREWSERVE_AUTH")
    """Who needs an API key: with `auto`, all who do not ask from this machine itself; with
    `required`, everybody; with `none`, nobody, so that whoever reaches the port may do all."""

    secret_key: SecretStr | None = Field(None, alias="CREWSERVE_SECRET_KEY", min_length=32)
    """What API keys are checked with, the same on all hosts that share a database. Without it, one
    is made in the data folder. With another one, no key counts any more."""

    oidc_issuer: str | None = Field(None, alias="CREWSERVE_OIDC_ISSUER")
    """URL of an identity provider whose access tokens count beside API keys. Its keys are read from
    there. It needs CREWSERVE_OIDC_AUDIENCE, and `pip install 'crewserve[oidc]'`."""

    oidc_audience: Annotated[str, Field(min_length=1)] | None = Field(
        None, alias="CREWSERVE_OIDC_AUDIENCE", validate_default=True
    )
    """What a token's `aud` must name: this server, as the provider knows it."""

    oidc_token_type: str = Field("at+jwt", alias="CREWSERVE_OIDC_TOKEN_TYPE")
    """What a token's `typ` must be. at+jwt is the standard's; some providers say JWT."""

    oidc_scope_claim: str = Field("scope", alias="CREWSERVE_OIDC_SCOPE_CLAIM")
    """Where a token says what it is good for; the names of scopes are those of API keys."""

    oidc_tenant_claim: str | None = Field(None, alias="CREWSERVE_OIDC_TENANT_CLAIM")
    """Where a token says whose executions it is about. Without it, all share one tenant."""

    rate_limits: Annotated[list[str], NoDecode] = Field(
        ["key=200/second", "address:refused=20/second"], alias="CREWSERVE_RATE_LIMITS"
    )
    """How often others than programs of this machine may ask, comma-separated, like
    address=100/second, tenant=1000/minute or key:start=60/minute: for each address, key or tenant,
    of all requests or of those that read, change or start something, or are refused. Each process
    counts for itself. `none`: as often as they like."""

    max_body_bytes: Annotated[int, Gt(0)] = Field(1024 * 1024, alias="CREWSERVE_MAX_BODY_BYTES")
    """Larger request bodies are refused."""

    sandbox: bool = Field(default=True, alias="CREWSERVE_SANDBOX")
    """Whether flows are kept from the data folder, from each other's files and from the server's
    memory, as far as this machine can. Without it, debuggers can attach to the server as well."""

    flow_users: Annotated[str, StringConstraints(pattern=r"^\d+(-\d+)?$")] | None = Field(
        None, alias="CREWSERVE_FLOW_USERS"
    )
    """Numbers of users, as 200000-200999, that exist for flows alone: where the server is root,
    each execution runs as one of them. Without it, flows run as the server's own user."""

    flow_memory_mib: Annotated[int, Ge(1)] | None = Field(None, alias="CREWSERVE_FLOW_MEMORY_MIB")
    """MiB of memory that a process of a flow may take. Without it, as much as there is."""

    flow_file_mib: Annotated[int, Ge(1)] | None = Field(None, alias="CREWSERVE_FLOW_FILE_MIB")
    """MiB to which a flow may let a file grow. Without it, any number."""

    flow_open_files: Annotated[int, Ge(64)] | None = Field(None, alias="CREWSERVE_FLOW_OPEN_FILES")
    """Files and connections that a process of a flow may have open. Without it, as the server."""

    flow_processes: Annotated[int, Ge(128)] | None = Field(None, alias="CREWSERVE_FLOW_PROCESSES")
    """Processes and threads of one execution at most, where CREWSERVE_FLOW_USERS has one for it."""

    flow_variables: Annotated[list[str], NoDecode] = Field([], alias="CREWSERVE_FLOW_VARIABLES")
    """Variables, comma-separated, that flows get although they are called like the server's own,
    such as DATABASE_URL or REDIS_URL."""

    flows: Annotated[list[str], NoDecode] = Field([], alias="CREWSERVE_FLOWS")
    """What `crewserve serve` serves when it is given no flow: module:FlowClass, comma-separated."""

    queues: Annotated[list[str], NoDecode] = Field([], alias="CREWSERVE_QUEUES")
    """Queues whose executions this host runs, comma-separated; none: all of them."""

    @field_validator(
        "flows",
        "queues",
        "flow_variables",
        "allowed_hosts",
        "cors_origins",
        "trusted_proxies",
        "rate_limits",
        mode="before",
    )
    @classmethod
    def _split(cls, value: object) -> object:
        return [part.strip() for part in value.split(",")] if isinstance(value, str) else value

    @field_validator("rate_limits")
    @classmethod
    def _check_limits(cls, limits: list[str]) -> list[str]:
        written = [] if limits == ["none"] else limits
        for limit in written:
            parse_limit(limit)
        return written

    @field_validator("prices", mode="before")
    @classmethod
    def _read_prices(cls, value: object) -> object:
        return read_prices(value) if isinstance(value, str) else value

    @field_validator("broker_url")
    @classmethod
    def _check_broker(cls, url: SecretStr | None, info: ValidationInfo) -> SecretStr | None:
        if url is None:
            return None
        if url.get_secret_value().partition("://")[0] not in BROKERS:
            raise PydanticCustomError("broker", "it must begin with amqp:// or redis://")
        if not info.data.get("database_url"):
            raise PydanticCustomError("broker", "a broker needs CREWSERVE_DATABASE_URL as well")
        return url

    @field_validator("oidc_issuer")
    @classmethod
    def _check_issuer(cls, url: str | None) -> str | None:
        """Whoever could change the keys on their way could make tokens."""
        if url is not None and not _SAFE_URL.match(url):
            raise PydanticCustomError("issuer", "it must begin with https://")
        return url

    @field_validator("oidc_audience")
    @classmethod
    def _check_audience(cls, audience: str | None, info: ValidationInfo) -> str | None:
        """Else tokens for any other service of the provider would count."""
        if audience is None and info.data.get("oidc_issuer"):
            raise PydanticCustomError("audience", "CREWSERVE_OIDC_ISSUER needs it as well")
        return audience

    def pass_on(self) -> None:
        """Let every process that this one starts read the same, whatever the command line said."""
        os.environ["API_HOST"] = self.api_host
        os.environ["API_PORT"] = str(self.api_port)
        os.environ["CREWSERVE_API_WORKERS"] = str(self.api_workers)
        os.environ["CREWSERVE_DRAIN_SECONDS"] = str(self.drain_seconds)
        os.environ["CREWSERVE_FLOWS"] = ",".join(self.flows)

    @property
    def flow_user_range(self) -> range:
        """`flow_users`."""
        if self.flow_users is None:
            return range(0)
        first, _, last = self.flow_users.partition("-")
        return range(int(first), int(last or first) + 1)

    @property
    def private_urls(self) -> list[str]:
        """Those that lead to the server's own database and broker."""
        urls = (self.database_url, self.broker_url)
        return [url.get_secret_value() for url in urls if url is not None]

    @property
    def lease(self) -> timedelta:
        """`lease_seconds`."""
        if self.database_url and "lease_seconds" not in self.model_fields_set:
            return DISTRIBUTED_LEASE
        return timedelta(seconds=self.lease_seconds)

    def price_table(self) -> Prices:
        """`prices`."""
        return {model: Price(**given.model_dump()) for model, given in self.prices.items()}

    @property
    def recycle_growth_bytes(self) -> int | None:
        """`recycle_growth_mib`."""
        return self.recycle_growth_mib * 2**20 if self.recycle_growth_mib else None

    @property
    def redis_visibility(self) -> timedelta:
        """`redis_visibility_seconds`."""
        return timedelta(seconds=self.redis_visibility_seconds)

    @property
    def drain(self) -> timedelta:
        """`drain_seconds`."""
        return timedelta(seconds=self.drain_seconds)

    def chosen_model(self) -> str | None:
        """What flows use: MODEL, else Gemini, else OpenAI, else None for the embedded model."""
        if self.model:
            return self.model
        if self.gemini_api_key:
            return "gemini/gemini-2.5-flash"
        if self.openai_api_key:
            return "openai/gpt-4o-mini"
        return None


def environment() -> Mapping[str, str]:
    """This process's environment, completed by `.env`: what flows inherit."""
    from_file = {name: value for name, value in dotenv_values(ENV_FILE).items() if value}
    return {**from_file, **os.environ}


def secret_file() -> Path | None:
    """The `.env`, if it tells a secret of the server's own."""
    names = [name for name, value in dotenv_values(ENV_FILE).items() if value]
    return Path(ENV_FILE).resolve() if any(map(_SECRET.fullmatch, names)) else None


def export(values: Mapping[str, str]) -> None:
    """Set what is not set yet, for code of the user's that runs inside the API process."""
    for name, value in values.items():
        os.environ.setdefault(name, value)
