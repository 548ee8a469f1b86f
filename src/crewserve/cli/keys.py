"""`crewserve keys`: who may do what."""

import argparse
import sys
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from typing import Any, Final, TypeVar

from pydantic import ValidationError

from crewserve.application.api_keys import PAGE, ApiKeys, Grant, NewKey
from crewserve.bootstrap import with_api_keys
from crewserve.cli.errors import CannotStart
from crewserve.cli.server import read_settings
from crewserve.domain.api_key import LIFETIME, ApiKey
from crewserve.domain.errors import CrewserveError
from crewserve.domain.ids import KeyId
from crewserve.domain.realm import DEFAULT_TENANT
from crewserve.protocol.api_keys import ApiKeyRequest
from crewserve.storage.database import DatabaseUnusable

T = TypeVar("T")

SCOPES: Final = (
    "executions:read, executions:write, executions:cancel, flows:NAME:execute, flows:*:execute, "
    "feedback:respond, metrics:read, admin"
)


def add_key_arguments(parser: argparse.ArgumentParser) -> None:
    """`create`, `list`, `revoke` and `rotate`."""
    actions = parser.add_subparsers(title="actions", required=True, metavar="ACTION")
    creating = actions.add_parser("create", help="make a key; it is printed once")
    creating.add_argument("name", help="what it is for")
    creating.add_argument(
        "--scope", action="append", required=True, dest="scopes", help=f"again for each: {SCOPES}"
    )
    creating.add_argument("--tenant", default=DEFAULT_TENANT, help="whose executions it works with")
    creating.add_argument(
        "--flow", action="append", default=[], dest="flows", help="the only flows that exist for it"
    )
    creating.add_argument("--days", type=int, default=LIFETIME.days, help="until it expires (90)")
    creating.add_argument("--never-expires", action="store_true")
    listing = actions.add_parser("list", help="show all keys, but not their secrets")
    revoking = actions.add_parser("revoke", help="let a key count no more")
    rotating = actions.add_parser("rotate", help="replace a key by a new one for the same")
    rotating.add_argument(
        "--overlap", type=float, default=0.0, metavar="SECONDS", help="how long both count (0)"
    )
    for action in (revoking, rotating):
        action.add_argument("id", help="as `list` shows it")
    for action, run in (
        (creating, _create),
        (listing, _list),
        (revoking, _revoke),
        (rotating, _rotate),
    ):
        action.set_defaults(run=run)


def _create(arguments: argparse.Namespace) -> None:
    days = None if arguments.never_expires else arguments.days
    wished: dict[str, Any] = {"expires_in_days": days}
    wished |= {name: getattr(arguments, name) for name in ("name", "scopes", "tenant", "flows")}
    try:
        grant = Grant(**ApiKeyRequest(**wished).grant)
    except ValidationError as error:
        wrong = [f"{found['loc'][0]}: {found['msg']}" for found in error.errors()]
        raise CannotStart("; ".join(wrong), f"scopes are {SCOPES}") from error
    _print_new(_with_keys(arguments, lambda keys: keys.create(grant)))


def _list(arguments: argparse.Namespace) -> None:
    lines: list[tuple[str, ...]] = [("ID", "NAME", "TENANT", "EXPIRES", "LAST USED", "SCOPES")]
    lines += [_line(key) for key in _with_keys(arguments, _all)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    for line in lines:
        padded = (text.ljust(width) for text, width in zip(line, widths, strict=True))
        print("  ".join(padded).rstrip())


async def _all(keys: ApiKeys) -> list[ApiKey]:
    found: list[ApiKey] = []
    while page := await keys.page(limit=PAGE, after=found[-1].id if found else None):
        found += page
    return found


def _line(key: ApiKey) -> tuple[str, ...]:
    ends = "revoked" if key.revoked_at else _day(key.expires_at)
    limited = [f"only {flow}" for flow in sorted(key.flows)]
    scopes = ", ".join([*sorted(key.scopes), *limited])
    return (key.id, key.name, key.tenant, ends, _day(key.last_used_at), scopes)


def _day(time: datetime | None) -> str:
    return "never" if time is None else f"{time:%Y-%m-%d}"


def _revoke(arguments: argparse.Namespace) -> None:
    key = _with_keys(arguments, lambda keys: keys.revoke(KeyId(arguments.id)))
    print(f"Revoked {key.id} ({key.name})", file=sys.stderr)


def _rotate(arguments: argparse.Namespace) -> None:
    overlap = timedelta(seconds=arguments.overlap)
    _print_new(
        _with_keys(arguments, lambda keys: keys.rotate(KeyId(arguments.id), overlap=overlap))
    )


def _print_new(made: NewKey) -> None:
    """The key alone on stdout, for scripts."""
    key, token = made
    expiry = f"expires on {_day(key.expires_at)}" if key.expires_at else "never expires"
    print(f"Key {key.id} ({key.name}) {expiry}; it is shown only now:", file=sys.stderr)
    print(token)


def _with_keys(arguments: argparse.Namespace, use: "Callable[[ApiKeys], Awaitable[T]]") -> T:
    try:
        return with_api_keys(read_settings(arguments), use)
    except DatabaseUnusable as error:
        raise CannotStart(f"The database cannot be used: {error}") from error
    except CrewserveError as error:
        raise CannotStart(str(error)) from error
