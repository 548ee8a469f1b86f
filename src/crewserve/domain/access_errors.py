"""What is raised when somebody may not do what was asked.

* CrewserveError
  x KeyRequired
  x KeyRefused
  x TokenRefused
  x IssuerUnavailable
  x ScopeMissing
  x TooManyRequests
  x ApiKeyNotFound
  x ApiKeyEnded
  x HostRefused
  x OriginRefused
"""

from crewserve.domain.errors import CrewserveError
from crewserve.domain.ids import KeyId
from crewserve.domain.rate_limit import Bucket


class KeyRequired(CrewserveError):
    """Nobody was named, and this server does not let strangers do that."""

    code = "key_required"

    def __init__(self) -> None:
        super().__init__(
            "This needs an API key, sent as 'Authorization: Bearer csk_...' or as 'X-API-Key: "
            "csk_...'; on the server, `crewserve keys create` makes one"
        )


class KeyRefused(CrewserveError):
    """What was sent is no key that counts. Why is not told: guessing shall teach nothing."""

    code = "invalid_key"

    def __init__(self) -> None:
        super().__init__(
            "The API key is unknown, malformed, expired or revoked; `crewserve keys list` shows "
            "those that count, on the server"
        )


class TokenRefused(CrewserveError):
    """It is no access token that counts here. *reason* completes "..., as ..."."""

    code = "invalid_token"

    def __init__(self, reason: str) -> None:
        super().__init__(f"The access token is refused, as {reason}")


class IssuerUnavailable(CrewserveError):
    """Nobody can say whether the access token is good."""

    code = "issuer_unavailable"

    def __init__(self) -> None:
        super().__init__(
            "The identity provider's keys cannot be read, so no access token can be checked; API "
            "keys count as ever"
        )


class ScopeMissing(CrewserveError):
    """The key is good, but not for this."""

    code = "insufficient_scope"

    def __init__(self, scope: str) -> None:
        super().__init__(f"This needs a key with the scope {scope!r}, which this key has not")
        self.scope = scope


class ApiKeyNotFound(CrewserveError):
    """There is no such key."""

    code = "api_key_not_found"

    def __init__(self, key_id: KeyId) -> None:
        super().__init__(f"No API key has the id {key_id!r}; GET /api/v1/keys lists them")


class ApiKeyEnded(CrewserveError):
    """It was revoked or has expired, and nothing brings it back."""

    code = "api_key_ended"

    def __init__(self, key_id: KeyId) -> None:
        super().__init__(f"The API key {key_id!r} counts no more; make a new one")


class HostRefused(CrewserveError):
    """A request for another server, or one that a foreign page made a browser send."""

    code = "host_refused"

    def __init__(self, host: str) -> None:
        super().__init__(
            f"This server is not asked under the name {host!r}; if it should be, name it in "
            "CREWSERVE_ALLOWED_HOSTS"
        )


class OriginRefused(CrewserveError):
    """A page from elsewhere tries to change something here."""

    code = "origin_refused"

    def __init__(self, origin: str) -> None:
        super().__init__(
            f"Pages of {origin!r} may not change anything here; if they should, name that origin "
            "in CREWSERVE_CORS_ORIGINS"
        )


class TooManyRequests(CrewserveError):
    """More often than it may be asked."""

    code = "rate_limited"

    def __init__(self, bucket: Bucket) -> None:
        limit = bucket.limit
        super().__init__(
            f"The limit {limit.name!r} allows {limit.amount} requests in {limit.seconds} seconds; "
            f"the next one in {bucket.retry_seconds}"
        )
        self.bucket = bucket
