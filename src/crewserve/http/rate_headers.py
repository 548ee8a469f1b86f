"""What is told of limits: draft-ietf-httpapi-ratelimit-headers-10."""

from collections.abc import Mapping, Sequence

from starlette.types import Message, Send

from crewserve.domain.rate_limit import Bucket


def rate_headers(buckets: Sequence[Bucket]) -> Mapping[str, str]:
    """None when nothing is limited."""
    if not buckets:
        return {}
    policies = (f'"{one.limit.name}";q={one.limit.amount};w={one.limit.seconds}' for one in buckets)
    states = (f'"{one.limit.name}";r={one.left};t={one.reset_seconds}' for one in buckets)
    return {"RateLimit-Policy": ", ".join(policies), "RateLimit": ", ".join(states)}


def telling(buckets: Sequence[Bucket], send: Send) -> Send:
    """*send*, and each answer says how much is left."""
    if not buckets:
        return send
    headers = [
        (name.lower().encode(), value.encode()) for name, value in rate_headers(buckets).items()
    ]

    async def send_with_limits(message: Message) -> None:
        if message["type"] == "http.response.start":
            message.setdefault("headers", []).extend(headers)
        await send(message)

    return send_with_limits
