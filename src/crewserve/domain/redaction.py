"""Keeping secrets out of what is stored and shown."""

import re
from collections.abc import Collection, Iterable, Mapping
from typing import Any, Final

REDACTED: Final = "[redacted]"

_CREDENTIALS: Final = re.compile(
    r"""(?ix)
    \b(bearer\s+)[\w.~+/-]{8,}=*          # an Authorization header
    | (\b[a-z][a-z0-9+.-]*://[^\s:/@]*:)[^\s/@]+(?=@)   # the password of a URL
    | \b(?:sk|pk|rk)-[\w-]{12,}           # OpenAI, Anthropic and many others
    | \bcsk_[0-9a-f]{12}_[\w-]{12,}         # our own
    | \bAIza[\w-]{20,}                    # Google
    | \b(?:ghp|gho|github_pat|xox[abp])[\w-]{16,}
    """
)


def secrets_in(variables: Mapping[str, str]) -> list[str]:
    """Values of environment *variables* that must not appear in a message."""
    return [
        value
        for name, value in variables.items()
        if len(value) >= 8 and name.upper().endswith(("KEY", "TOKEN", "SECRET", "PASSWORD"))
    ]


def redact(text: str, secrets: Iterable[str] = ()) -> str:
    """*text* without any of *secrets* and without whatever looks like a credential.

    Half characters, which no answer can carry, are spelt out.
    """
    if not text.isascii():
        text = text.encode(errors="backslashreplace").decode()
    for secret in sorted(secrets, key=len, reverse=True):
        text = text.replace(secret, REDACTED)
    return _CREDENTIALS.sub(lambda found: (found[1] or found[2] or "") + REDACTED, text)


def redact_all(value: Any, secrets: Collection[str]) -> Any:
    """The JSON data *value* with every text in it redacted, names as well."""
    if isinstance(value, str):
        return redact(value, secrets)
    if isinstance(value, dict):
        return {redact(name, secrets): redact_all(inner, secrets) for name, inner in value.items()}
    return [redact_all(inner, secrets) for inner in value] if isinstance(value, list) else value
