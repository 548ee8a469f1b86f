"""Access tokens of an identity provider."""

import httpx

from crewserve.bootstrap.ground import Ground
from crewserve.http.access_tokens import AccessTokens
from crewserve.http.issuer import Issuer


def open_access_tokens(ground: Ground) -> AccessTokens:
    """The provider is first asked when somebody shows a token. Proxies are those of the system."""
    settings = ground.settings
    issuer = Issuer(url=settings.oidc_issuer or "", client=httpx.AsyncClient())
    ground.stack.push_async_callback(issuer.close)
    return AccessTokens(
        issuer=issuer,
        audience=settings.oidc_audience or "",
        type=settings.oidc_token_type,
        scope_claim=settings.oidc_scope_claim,
        tenant_claim=settings.oidc_tenant_claim,
    )
