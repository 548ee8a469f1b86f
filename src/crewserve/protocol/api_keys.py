"""API keys on the wire."""

from collections.abc import Sequence
from datetime import timedelta
from typing import Annotated, Any, Final

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from crewserve.domain.api_key import LIFETIME, ApiKey
from crewserve.domain.ids import FlowName, KeyId, Tenant
from crewserve.domain.principal import SCOPE_PATTERN
from crewserve.domain.realm import DEFAULT_TENANT
from crewserve.protocol.times import WireTime

MAX_DAYS: Final = 3650

TENANT_PATTERN: Final = r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$"

ScopeName = Annotated[str, StringConstraints(pattern=SCOPE_PATTERN)]
FlowNameText = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_.-]{1,100}$")]


class ApiKeyRequest(BaseModel):
    """What a new key shall be good for."""

    model_config = ConfigDict(extra="forbid")

    name: str = Field(pattern="^[ -~]{1,100}$", examples=["billing service"])
    scopes: list[ScopeName] = Field(
        min_length=1, max_length=100, examples=[["executions:read", "flows:poem_flow:execute"]]
    )
    tenant: str = Field(DEFAULT_TENANT, pattern=TENANT_PATTERN)
    flows: list[FlowNameText] = Field(
        [], max_length=100, description="The only flows that exist for it; none: all of them."
    )
    expires_in_days: Annotated[int, Field(ge=1, le=MAX_DAYS)] | None = Field(
        LIFETIME.days, description="null: never."
    )

    @property
    def grant(self) -> dict[str, Any]:
        """Of a `Grant`."""
        days = self.expires_in_days
        return {
            "name": self.name,
            "scopes": frozenset(map(str, self.scopes)),
            "tenant": Tenant(self.tenant),
            "flows": frozenset(map(FlowName, self.flows)),
            "lifetime": None if days is None else timedelta(days=days),
        }


class RotateRequest(BaseModel):
    """How a key gives way to another one."""

    model_config = ConfigDict(extra="forbid")

    overlap_seconds: float = Field(
        0, ge=0, le=86400 * 30, description="How long the old one still counts."
    )


class ApiKeyBody(BaseModel):
    """A key, as far as it may be shown."""

    id: str
    prefix: str = Field(description="What the key begins with.")
    name: str
    tenant: str
    scopes: list[str]
    flows: list[str]
    created_at: WireTime
    expires_at: WireTime | None
    revoked_at: WireTime | None = Field(description="From then on it counts no more.")
    last_used_at: WireTime | None = Field(description="To the minute.")


class NewApiKeyBody(ApiKeyBody):
    """A key that was just made."""

    key: str = Field(description="The key itself. It is told only now.")


class ApiKeyList(BaseModel):
    """One page, by id."""

    keys: list[ApiKeyBody]
    next_cursor: str | None = Field(None, description="Ask for the next page with it.")


def key_body(key: ApiKey) -> ApiKeyBody:
    """*key* as it is shown."""
    return ApiKeyBody(**_fields(key))


def new_key_body(key: ApiKey, token: str) -> NewApiKeyBody:
    """The only answer with *token* in it."""
    return NewApiKeyBody(**_fields(key), key=token)


def key_list(keys: Sequence[ApiKey], cursor: str | None) -> ApiKeyList:
    return ApiKeyList(keys=[key_body(key) for key in keys], next_cursor=cursor)


def prefix_of(key_id: KeyId) -> str:
    """What the key with that id begins with."""
    return f"csk_{key_id}_"


def _fields(key: ApiKey) -> dict[str, Any]:
    return {
        "id": key.id,
        "prefix": prefix_of(key.id),
        "name": key.name,
        "tenant": key.tenant,
        "scopes": sorted(key.scopes),
        "flows": sorted(key.flows),
        "created_at": key.created_at,
        "expires_at": key.expires_at,
        "revoked_at": key.revoked_at,
        "last_used_at": key.last_used_at,
    }
