"""Tokens for the laptop's own users, signed with the secret that `sona up` made."""

from __future__ import annotations

import time
from collections.abc import Iterable

import jwt

from core.api.auth import LAPTOP, LOCAL_ISSUER
from core.config import settings
from core.errors import ConfigurationError


def sign_local_token(secret: bytes | str, user_id: str, roles: Iterable[str] = (), lifetime_s: float = 86_400.0) -> str:
    """A bearer token for `user_id`. Raises ConfigurationError where a cloud deployment is configured.

    There nothing accepts such a token anyway (core.api.auth); refusing to sign shows the mistake where it is made.
    """
    here = settings()
    if here.edition != LAPTOP and (here.auth.jwks_url or here.stores.sql_instance):
        raise ConfigurationError("only the laptop edition signs its own tokens")
    now = time.time()
    claims = {
        "iss": LOCAL_ISSUER,
        "aud": here.auth.audience,
        "sub": user_id,
        "roles": list(roles),
        "iat": int(now),
        "exp": int(now + lifetime_s),
    }
    key = secret.encode() if isinstance(secret, str) else secret
    return jwt.encode(claims, key.strip(), algorithm="HS256")
