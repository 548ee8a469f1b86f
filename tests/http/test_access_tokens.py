"""Whose tokens count, and what happens when their issuer is away."""

import asyncio
import base64
import hmac
import json
import time
from http import HTTPStatus
from typing import Any

import httpx
import jwt
import pytest
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from crewserve.domain.access_errors import IssuerUnavailable, TokenRefused
from crewserve.domain.realm import DEFAULT_TENANT
from crewserve.http import issuer as issuers
from crewserve.http.access_tokens import AccessTokens, scopes_in
from crewserve.http.issuer import Issuer
from tests.support.api import Bench, assert_problem
from tests.support.identity import AUDIENCE, IdentityProvider

KEYS_PATH = "/keys"
CONFIGURATION = "/.well-known/openid-configuration"


class Seconds:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture(scope="module")
def keys() -> IdentityProvider:
    """Making keys takes a while."""
    found = IdentityProvider()
    found.new_key("first")
    found.new_key("second")
    return found


@pytest.fixture
def provider(keys: IdentityProvider) -> IdentityProvider:
    return IdentityProvider(keys={"first": keys.keys["first"]})


@pytest.fixture
def seconds() -> Seconds:
    return Seconds()


@pytest.fixture
def tokens(provider: IdentityProvider, seconds: Seconds) -> AccessTokens:
    client = httpx.AsyncClient(transport=provider.transport())
    return AccessTokens(
        issuer=Issuer(url=provider.url, client=client, seconds=seconds),
        audience=AUDIENCE,
        type="at+jwt",
        scope_claim="scope",
        tenant_claim=None,
    )


def with_tenants(tokens: AccessTokens, claim: str) -> AccessTokens:
    return AccessTokens(
        issuer=tokens.issuer,
        audience=AUDIENCE,
        type="at+jwt",
        scope_claim="roles",
        tenant_claim=claim,
    )


async def test_a_token_is_good_for_the_scopes_of_ours_that_it_names(
    tokens: AccessTokens, provider: IdentityProvider
) -> None:
    token = provider.token(scope="openid executions:read flows:poem_flow:execute executions:all")
    found = await tokens.principal(token)
    assert found.scopes == {"executions:read", "flows:poem_flow:execute"}
    assert (found.tenant, found.key) == (DEFAULT_TENANT, None)
    assert provider.asked == [CONFIGURATION, KEYS_PATH]
    await tokens.principal(provider.token(typ="application/at+jwt"))
    assert len(provider.asked) == 2


async def test_tenant_and_scopes_are_where_the_settings_say(
    tokens: AccessTokens, provider: IdentityProvider
) -> None:
    tokens = with_tenants(tokens, "org")
    found = await tokens.principal(provider.token(org="acme", roles=["admin", 7, "x"]))
    assert (found.tenant, sorted(found.scopes)) == ("acme", ["admin"])
    for org in (None, "", "a b", 7, ["acme"]):
        with pytest.raises(TokenRefused, match="'org' names no tenant"):
            await tokens.principal(provider.token(org=org))


@pytest.mark.parametrize("claim", [None, 7, {"admin": True}, [["admin"]], "Admin"])
def test_what_is_no_list_of_scopes_is_none(claim: object) -> None:
    assert scopes_in(claim) == frozenset()


LONG_AGO = int(time.time()) - 3600


@pytest.mark.parametrize(
    ("claims", "reason"),
    [
        ({"exp": LONG_AGO}, "expired"),
        ({"nbf": LONG_AGO + 7200}, "its time has not come"),
        ({"aud": "another"}, "not for this server"),
        ({"aud": None}, "does not say aud"),
        ({"iss": "https://evil.example.com"}, "another issuer"),
        ({"sub": None}, "does not say sub"),
        ({"exp": None}, "does not say exp"),
        ({"typ": "JWT"}, "its type"),
    ],
)
async def test_each_claim_is_checked(
    tokens: AccessTokens, provider: IdentityProvider, claims: dict[str, Any], reason: str
) -> None:
    with pytest.raises(TokenRefused, match=reason):
        await tokens.principal(provider.token(**claims))


async def test_what_somebody_else_signed_is_refused(
    tokens: AccessTokens, provider: IdentityProvider, keys: IdentityProvider
) -> None:
    forger = IdentityProvider(keys={"first": keys.keys["second"]})
    with pytest.raises(TokenRefused, match="its signature is wrong"):
        await tokens.principal(forger.token(scope="admin"))


def part(value: object) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()


async def test_a_token_does_not_choose_how_it_is_checked(
    tokens: AccessTokens, provider: IdentityProvider
) -> None:
    """RFC 8725, sections 2.1 and 3.1: no algorithm, and the public key as a secret."""
    claims = jwt.decode(provider.token(), options={"verify_signature": False})
    unsigned = {"alg": "none", "typ": "at+jwt", "kid": "first"}
    with pytest.raises(TokenRefused, match="alg"):
        await tokens.principal(f"{part(unsigned)}.{part(claims)}.")
    public = provider.keys["first"].public_key()
    pem = public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    signed = f"{part({**unsigned, 'alg': 'HS256'})}.{part(claims)}"
    mac = base64.urlsafe_b64encode(hmac.digest(pem, signed.encode(), "sha256")).rstrip(b"=")
    with pytest.raises(TokenRefused, match="alg"):
        await tokens.principal(f"{signed}.{mac.decode()}")


@pytest.mark.parametrize(
    "token",
    [
        "..",
        "a.b.c",
        f"{part([])}.{part({})}.x",
        f"{base64.urlsafe_b64encode(b'[' * 12_000).decode()}..",
        "x" * 20_000 + "..",
        "\N{LATIN SMALL LETTER E WITH ACUTE}.b.c",
    ],
)
async def test_rubbish_is_refused_without_asking_anybody(
    tokens: AccessTokens, provider: IdentityProvider, token: str
) -> None:
    with pytest.raises(TokenRefused):
        await tokens.principal(token)
    assert provider.asked == []


async def test_a_new_key_is_found_and_one_that_was_taken_back_counts_no_more(
    tokens: AccessTokens, provider: IdentityProvider, keys: IdentityProvider, seconds: Seconds
) -> None:
    first = provider.token()
    await tokens.principal(first)
    provider.keys = {"second": keys.keys["second"]}
    seconds.now += issuers.PAUSE_SECONDS
    await tokens.principal(provider.token("second"))
    with pytest.raises(TokenRefused, match="publishes no such key"):
        await tokens.principal(first)


async def test_keys_are_read_again_while_the_old_ones_still_count(
    tokens: AccessTokens, provider: IdentityProvider, keys: IdentityProvider, seconds: Seconds
) -> None:
    first = provider.token()
    await tokens.principal(first)
    provider.keys = {"second": keys.keys["second"]}
    seconds.now += issuers.FRESH_SECONDS
    await tokens.principal(first)
    async with asyncio.timeout(10):
        while len(provider.asked) < 4:
            await asyncio.sleep(0)
    with pytest.raises(TokenRefused, match="publishes no such key"):
        await tokens.principal(first)


async def test_a_key_that_was_taken_back_long_ago_opens_nothing_after_a_quiet_night(
    tokens: AccessTokens, provider: IdentityProvider, keys: IdentityProvider, seconds: Seconds
) -> None:
    first = provider.token()
    await tokens.principal(first)
    provider.keys = {"second": keys.keys["second"]}
    seconds.now += 10 * issuers.FRESH_SECONDS
    with pytest.raises(TokenRefused, match="publishes no such key"):
        await tokens.principal(first)


async def test_a_key_that_names_no_algorithm_is_good_for_those_of_its_kind(
    tokens: AccessTokens, provider: IdentityProvider
) -> None:
    published = json.loads(provider.answer(KEYS_PATH)[1])
    del published["keys"][0]["alg"]
    provider.documents[KEYS_PATH] = published
    for algorithm in ("RS256", "RS512", "PS256"):
        await tokens.principal(provider.token(algorithm=algorithm))
    head = {"alg": "ES256", "typ": "at+jwt", "kid": "first"}
    with pytest.raises(TokenRefused, match="no such key for ES256"):
        await tokens.principal(f"{part(head)}.{part({})}.{part({})}")


async def test_invented_keys_do_not_make_us_ask_more_often(
    tokens: AccessTokens, provider: IdentityProvider, keys: IdentityProvider
) -> None:
    await tokens.principal(provider.token())
    invented = IdentityProvider(keys={f"key {n}": keys.keys["second"] for n in range(20)})
    for key_id in invented.keys:
        with pytest.raises(TokenRefused, match="publishes no such key"):
            await tokens.principal(invented.token(key_id))
    assert len(provider.asked) == 2


async def test_while_the_provider_is_away_known_keys_count_for_a_day(
    tokens: AccessTokens, provider: IdentityProvider, seconds: Seconds
) -> None:
    await tokens.principal(provider.token())
    provider.is_away = True
    seconds.now += issuers.KEPT_SECONDS - 1
    await tokens.principal(provider.token())
    seconds.now += 1 + issuers.PAUSE_SECONDS
    with pytest.raises(IssuerUnavailable):
        await tokens.principal(provider.token())
    provider.is_away = False
    seconds.now += issuers.PAUSE_SECONDS
    await tokens.principal(provider.token())


async def test_those_who_ask_together_ask_the_provider_once(
    tokens: AccessTokens, provider: IdentityProvider
) -> None:
    await asyncio.gather(*(tokens.principal(provider.token()) for _ in range(20)))
    assert len(provider.asked) == 2


@pytest.mark.parametrize(
    ("path", "document"),
    [
        (CONFIGURATION, {"issuer": "https://evil.example.com", "jwks_uri": "https://a.b/keys"}),
        (CONFIGURATION, {"issuer": "https://id.example.com", "jwks_uri": "http://a.b/keys"}),
        (CONFIGURATION, {"issuer": "https://id.example.com", "jwks_uri": "file:///etc/passwd"}),
        (CONFIGURATION, {"issuer": "https://id.example.com"}),
        (CONFIGURATION, []),
        (KEYS_PATH, {"keys": []}),
        (KEYS_PATH, {"keys": "none"}),
        (KEYS_PATH, {"keys": [7, None, {}]}),
        (KEYS_PATH, {"keys": [{"kty": "RSA", "kid": ["first"], "alg": ["RS256"]}]}),
        (KEYS_PATH, {"keys": [{"kty": "RSA", "kid": "first", "use": "enc", "n": "", "e": ""}]}),
        (KEYS_PATH, {"keys": [{"kty": "oct", "kid": "first", "k": "c2VjcmV0"}]}),
        (KEYS_PATH, {"padding": "x" * 2_000_000}),
    ],
)
async def test_a_provider_that_answers_strangely_is_as_one_that_is_away(
    tokens: AccessTokens, provider: IdentityProvider, path: str, document: object
) -> None:
    provider.documents[path] = document
    with pytest.raises(IssuerUnavailable):
        await tokens.principal(provider.token())


async def test_http_tells_why_and_how_long(
    bench: Bench, api: httpx.AsyncClient, tokens: AccessTokens, provider: IdentityProvider
) -> None:
    bench.judge_token = tokens.principal
    bench.attach()

    async def ask(token: str) -> httpx.Response:
        headers = {"Authorization": f"Bearer {token}"}
        return await api.get("/executions", headers=headers)

    provider.is_away = True
    away = await ask(provider.token())
    assert_problem(away, HTTPStatus.SERVICE_UNAVAILABLE, "issuer_unavailable")
    assert int(away.headers["Retry-After"]) == issuers.PAUSE_SECONDS
    provider.is_away = False
    tokens.issuer.seconds.now += issuers.PAUSE_SECONDS  # type: ignore[attr-defined]
    assert (await ask(provider.token(scope="executions:read"))).is_success
    lacking = await ask(provider.token(scope="openid"))
    assert_problem(lacking, HTTPStatus.FORBIDDEN, "insufficient_scope")
    old = await ask(provider.token(exp=LONG_AGO))
    assert "expired" in str(assert_problem(old, HTTPStatus.UNAUTHORIZED, "invalid_token"))
    assert 'error="invalid_token"' in old.headers["WWW-Authenticate"]
