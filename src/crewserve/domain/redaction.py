"""Keeping secrets out of what is stored and shown."""

import re
from collections.abc import Iterable
from typing import Final

REDACTED: Final = "[redacted]"

_CREDENTIALS: Final = re.compile(
    r"""(?ix)
    \b(bearer\s+)[\w.~+/-]{8,}=*          # an Authorization header
    | \b(?:sk|pk|rk)-[\w-]{12,}           # OpenAI, Anthropic and many others
    | \bAIza[\w-]{20,}                    # Google
    | \b(?:ghp|gho|github_pat|xox[abp])[\w-]{16,}
    """
)


def redact(text: str, secrets: Iterable[str] = ()) -> str:
    """*text* without any of *secrets* and without whatever looks like a credential.

    Half characters, which no answer can carry, are spelt out.
    """
    text = text.encode(errors="backslashreplace").decode()
    for secret in sorted(secrets, key=len, reverse=True):
        text = text.replace(secret, REDACTED)
    return _CREDENTIALS.sub(lambda found: (found[1] or "") + REDACTED, text)
