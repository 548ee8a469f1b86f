"""Who may ask."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import TypeVar

from crewserve.application.api_keys import ApiKeys, NewKey
from crewserve.application.auditing import Auditing
from crewserve.application.key_ring import KeyRing
from crewserve.application.rate_limiting import RateLimiting
from crewserve.bootstrap.duties import keep
from crewserve.bootstrap.ground import Ground, database_url, folder, new_audit_id, now
from crewserve.domain.rate_limit import parse as parse_limit
from crewserve.http.gate import Access, Auth, JudgeToken
from crewserve.ports import ApiKeyStore, AuditLog
from crewserve.settings import Settings
from crewserve.storage.api_keys import SqlApiKeys
from crewserve.storage.audit import SqlAudit
from crewserve.storage.database import open_database
from crewserve.storage.secret_file import read_secret
from crewserve.storage.writer import Writer

T = TypeVar("T")

LOOPBACK = frozenset({"127.0.0.1", "::1", "localhost"})

log = logging.getLogger(__name__)


def open_access(ground: Ground, store: ApiKeyStore, audit: Auditing) -> tuple[Access, ApiKeys]:
    """For a process that answers requests."""
    secret = secret_of(ground.settings)
    ring = KeyRing(store=store, secret=secret, clock=now)
    ground.stack.push_async_callback(ring.note)
    keep(ground.stack, "uses of keys", ring.keep())
    limits = [*map(parse_limit, ground.settings.rate_limits)]
    limiting = RateLimiting(limits) if limits else None
    access = Access(Auth(ground.settings.auth), ring, _judge(ground), limiting)
    _tell(access.auth)
    return access, ApiKeys(store=store, secret=secret, forget=ring.forget, clock=now, audit=audit)


def _judge(ground: Ground) -> JudgeToken | None:
    if ground.settings.oidc_issuer is None:
        return None
    from crewserve.bootstrap.identity import open_access_tokens  # noqa: PLC0415  # extra

    return open_access_tokens(ground).principal


def _tell(auth: Auth) -> None:
    match auth:
        case Auth.NONE:
            log.warning("CREWSERVE_AUTH=none: whoever reaches the port may do everything")
        case Auth.AUTO:
            log.info(
                "Programs on this machine need no API key; all others do (CREWSERVE_AUTH=auto)"
            )
        case Auth.REQUIRED:
            log.info("Everybody needs an API key (CREWSERVE_AUTH=required)")


def secret_of(settings: Settings) -> bytes:
    """What digests of keys are made with."""
    if settings.secret_key is not None:
        return settings.secret_key.get_secret_value().encode()
    return read_secret(folder(settings, "secret.key"))


def with_api_keys(settings: Settings, use: Callable[[ApiKeys], Awaitable[T]]) -> T:
    """What *use* answers, in a process that does nothing else. Raises: DatabaseUnusable."""
    folder(settings, "").mkdir(parents=True, exist_ok=True)
    database = open_database(database_url(settings), folder(settings, "crewserve.db"))
    database.migrate()
    reader, writer = database.reader(), Writer(database.writing)
    writer.start()
    try:
        store = SqlApiKeys(writer, reader, database.writing.dialect)
        audit = auditing(SqlAudit(writer, reader, database.writing.dialect))
        keys = ApiKeys(store=store, secret=secret_of(settings), clock=now, audit=audit)
        return asyncio.run(_used(use, keys))
    finally:
        writer.close()
        reader.close()
        database.close()


def auditing(log: AuditLog) -> Auditing:
    return Auditing(log=log, new_id=new_audit_id, clock=now)


async def _used(use: Callable[[ApiKeys], Awaitable[T]], keys: ApiKeys) -> T:
    return await use(keys)


def first_key(settings: Settings) -> NewKey | None:
    """For a server that others will reach: one for its operator, if there is none yet."""
    auth = Auth(settings.auth)
    is_asked = auth is Auth.REQUIRED or settings.api_host not in LOOPBACK
    if auth is Auth.NONE or not is_asked:
        return None
    return with_api_keys(settings, ApiKeys.create_first)
