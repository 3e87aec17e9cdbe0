"""Who is calling: a signed token or nobody. Without configuration everybody is refused."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Protocol

import jwt
from jwt.utils import base64url_decode

from core.config import AuthSettings, Settings
from core.errors import ConfigurationError, Forbidden, StoreUnavailable, Unauthenticated

LOCAL_ISSUER = "sona-local"  # who signs the laptop's tokens
LAPTOP = "laptop"
MIN_SECRET_BYTES = 32  # RFC 7518 section 3.2: an HS256 key is at least as long as its hash
ASYMMETRIC = ("RS256", "ES256")
GOOGLE_ISSUERS = ("https://accounts.google.com", "accounts.google.com")
# What Cloud Run puts in the place of the signature that its IAM has verified, so that nobody can use the token again.
CHECKED_BY_CLOUD_RUN = "SIGNATURE_REMOVED_BY_GOOGLE"
LEEWAY_S = 10.0  # clocks of well-kept machines differ by less
KEYS_LIVE_S = 3600.0  # providers publish the next key days ahead; an unknown one is looked up at once
KEYS_TIMEOUT_S = 2.0
MAX_TOKEN_BYTES = 8192  # longer than any header a load balancer lets through
PROVEN_LIVE_S = 300.0  # a verified token is not verified again for so long: a key that is withdrawn counts until then
PROVEN_TOKENS = 4096


class Headers(Protocol):
    """Request headers; names in any case."""

    def get(self, key: str, default: str, /) -> str:
        """The header's value, or `default`."""


@dataclass(frozen=True, slots=True)
class Identity:
    """The caller, as the token's issuer vouches for it."""

    user_id: str
    roles: frozenset[str] = frozenset()


_PROVEN: dict[tuple[str, AuthSettings], tuple[float, Identity]] = {}  # valid until (Unix seconds), who


def authenticate(headers: Headers, settings: Settings) -> Identity:
    """The identity in the bearer token. Raises Unauthenticated, or StoreUnavailable without the issuer's keys."""
    token = _bearer(headers)
    until, identity = _PROVEN.get((token, settings.auth), (0.0, None))
    if identity is None or time.time() >= until:
        identity = _prove(token, settings)
    return identity


def _prove(token: str, settings: Settings) -> Identity:
    """Check the signature and the claims, and keep the result for a while."""
    algorithm, key_id = _header(token.partition(".")[0])
    auth = settings.auth
    if algorithm == "HS256" and settings.edition == LAPTOP and auth.local_secret_file:
        claims = _verify(token, read_secret(auth.local_secret_file), [algorithm], auth.audience, LOCAL_ISSUER)
    elif algorithm in ASYMMETRIC and auth.jwks_url and auth.issuer and auth.audience:
        key = _signing_key(auth.jwks_url, key_id)
        claims = _verify(token, key, [algorithm], auth.audience, auth.issuer)
    else:
        raise Unauthenticated("no accepted issuer signs such tokens")
    identity = Identity(_subject(claims), _roles(claims))
    if len(_PROVEN) >= PROVEN_TOKENS:
        _PROVEN.clear()
    _PROVEN[token, auth] = (min(float(claims["exp"]), time.time() + PROVEN_LIVE_S), identity)
    return identity


def acting_for(identity: Identity, user_id: str | None, auth: AuthSettings) -> str:
    """The user a request is about: the caller, or whom a service names. Raises Forbidden for anybody else."""
    if user_id is None or user_id == identity.user_id:
        return identity.user_id
    if is_service(identity, auth):
        return user_id
    raise Forbidden("a token speaks for its own user only")


def is_service(identity: Identity, auth: AuthSettings) -> bool:
    """Whether the caller may act for any user."""
    return bool(auth.service_role) and auth.service_role in identity.roles


def for_services(identity: Identity, auth: AuthSettings, refusal: str) -> None:
    """Refuse single viewers what would change everybody's answers. Raises Forbidden, saying `refusal`."""
    if not is_service(identity, auth):
        raise Forbidden(refusal)


def administrator(headers: Headers, settings: Settings) -> Identity:
    """The caller, who must hold the administrator's role. Raises Unauthenticated, Forbidden."""
    identity = authenticate(headers, settings)
    if not settings.auth.admin_role or settings.auth.admin_role not in identity.roles:
        raise Forbidden("this is for administrators")
    return identity


def authenticate_push(headers: Headers, settings: Settings) -> None:
    """Check that Pub/Sub's own service account pushes. Raises Unauthenticated.

    On the laptop the broker is on the loopback and signs nothing; in the cloud a missing configuration refuses all.
    """
    auth = settings.auth
    if not auth.push_audience and settings.edition == LAPTOP:
        return
    if not (auth.push_audience and auth.push_email):
        raise Unauthenticated("pushes are not configured")
    token = _bearer(headers)
    algorithm, key_id = _header(token.partition(".")[0])
    if algorithm not in ASYMMETRIC:
        raise Unauthenticated("no accepted issuer signs such tokens")
    checked = auth.push_checked and token.rpartition(".")[2] == CHECKED_BY_CLOUD_RUN
    key = None if checked else _signing_key(auth.push_jwks_url, key_id)
    claims = _verify(token, key, [algorithm], auth.push_audience, GOOGLE_ISSUERS)
    if claims.get("email") != auth.push_email or claims.get("email_verified") is not True:
        raise Unauthenticated("not the service account that pushes")


@lru_cache(maxsize=4)
def read_secret(path: str) -> bytes:
    """The laptop's signing secret. Raises ConfigurationError when it is missing or too short to protect anything."""
    try:
        secret = Path(path).read_bytes().strip()
    except OSError as error:
        raise ConfigurationError(f"SONA_AUTH_LOCAL_SECRET_FILE: {error}") from error
    if len(secret) < MIN_SECRET_BYTES:
        raise ConfigurationError(f"SONA_AUTH_LOCAL_SECRET_FILE holds less than {MIN_SECRET_BYTES} bytes")
    return secret


def _bearer(headers: Headers) -> str:
    scheme, _, token = headers.get("Authorization", "").partition(" ")
    token = token.strip()
    if scheme.lower() != "bearer" or not token or len(token) > MAX_TOKEN_BYTES:
        raise Unauthenticated("a bearer token is needed")
    return token


@lru_cache(maxsize=64)
def _header(segment: str) -> tuple[str, str]:
    """Algorithm and key id that a token claims; they only select which of our keys must prove it.

    Kept because all tokens of one key begin with the same segment, and reading it costs as much as verifying.
    """
    try:
        header = json.loads(base64url_decode(segment))
        return str(header.get("alg")), str(header.get("kid"))
    except (ValueError, AttributeError, RecursionError) as error:
        raise Unauthenticated("not a token") from error


def _verify(
    token: str, key: Any, algorithms: list[str], audience: str, issuer: str | tuple[str, ...]
) -> dict[str, Any]:
    """The claims of a token that `key` signed; without a key its signature has been verified before."""
    try:
        return jwt.decode(
            token,
            key,
            algorithms=algorithms,
            audience=audience,
            issuer=issuer,
            leeway=LEEWAY_S,
            options={
                "require": ["exp", "iss", "aud", "sub"],
                "verify_signature": key is not None,
                # Said outright, because without a signature to verify PyJWT would check no claims either.
                "verify_exp": True,
                "verify_nbf": True,
                "verify_iat": True,
                "verify_aud": True,
                "verify_iss": True,
                "verify_sub": True,
            },
        )
    except jwt.PyJWTError as error:
        raise Unauthenticated(str(error)) from error


@lru_cache(maxsize=4)
def _keys(url: str) -> jwt.PyJWKClient:
    return jwt.PyJWKClient(url, lifespan=KEYS_LIVE_S, timeout=KEYS_TIMEOUT_S)


def _signing_key(url: str, key_id: str) -> Any:
    try:
        return _keys(url).get_signing_key(key_id).key
    except jwt.PyJWKClientConnectionError as error:
        raise StoreUnavailable("identity_provider", "its keys cannot be read") from error
    except jwt.PyJWTError as error:
        raise Unauthenticated("signed with an unknown key") from error


def _subject(claims: Mapping[str, Any]) -> str:
    subject = claims["sub"]
    if not isinstance(subject, str) or not 0 < len(subject) <= 128 or not subject.isprintable():
        raise Unauthenticated("the token names no usable subject")
    return subject


def _roles(claims: Mapping[str, Any]) -> frozenset[str]:
    roles = claims.get("roles", ())
    if isinstance(roles, str):
        return frozenset(roles.split())
    return frozenset(role for role in roles if isinstance(role, str)) if isinstance(roles, list) else frozenset()
