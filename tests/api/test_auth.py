"""Who is let in: what an issuer signed for us, and nobody else."""

import base64
import hmac
import json
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import given
from hypothesis import strategies as st

from core.api.auth import Identity, acting_for, authenticate, authenticate_push
from core.config import AuthSettings, Settings, settings
from core.errors import ConfigurationError, Forbidden, StoreUnavailable, Unauthenticated
from core.local.tokens import sign_local_token

SECRET = "0123456789abcdef0123456789abcdef"
ISSUER, AUDIENCE = "https://issuer.example", "sona"
PUSHER = "push@project.iam.gserviceaccount.com"
RSA_KEY = rsa.generate_private_key(65537, 2048)
EC_KEY = ec.generate_private_key(ec.SECP256R1())
OTHER_KEY = rsa.generate_private_key(65537, 2048)


@pytest.fixture(scope="module")
def jwks_url() -> Iterator[str]:
    """An identity provider's key endpoint."""
    keys = [
        jwt.algorithms.RSAAlgorithm.to_jwk(RSA_KEY.public_key(), as_dict=True) | {"kid": "rsa", "use": "sig"},
        jwt.algorithms.ECAlgorithm.to_jwk(EC_KEY.public_key(), as_dict=True) | {"kid": "ec", "use": "sig"},
    ]

    class Keys(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(json.dumps({"keys": keys}).encode())

        def log_message(self, *_: Any) -> None:
            return

    server = ThreadingHTTPServer(("127.0.0.1", 0), Keys)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/keys"
    server.shutdown()


@pytest.fixture
def cloud(jwks_url: str) -> Settings:
    auth = AuthSettings(issuer=ISSUER, audience=AUDIENCE, jwks_url=jwks_url)
    return Settings(auth=auth)


@pytest.fixture
def laptop(tmp_path: Path) -> Settings:
    secret = tmp_path / "secret"
    secret.write_text(SECRET)
    return Settings(edition="laptop", auth=AuthSettings(local_secret_file=str(secret)))


def claims(**changes: Any) -> dict[str, Any]:
    made = {"iss": ISSUER, "aud": AUDIENCE, "sub": "ann", "exp": time.time() + 600} | changes
    return {name: value for name, value in made.items() if value is not None}


def signed(key: Any = RSA_KEY, algorithm: str = "RS256", kid: str = "rsa", **changes: Any) -> str:
    return jwt.encode(claims(**changes), key, algorithm, headers={"kid": kid})


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


def part(content: dict[str, Any]) -> str:
    return base64.urlsafe_b64encode(json.dumps(content).encode()).rstrip(b"=").decode()


def test_a_token_of_the_issuer_says_who_is_calling(cloud: Settings) -> None:
    assert authenticate(bearer(signed()), cloud) == Identity("ann")
    assert authenticate(bearer(signed(EC_KEY, "ES256", "ec")), cloud) == Identity("ann")
    assert authenticate(bearer(signed(roles=["service"])), cloud).roles == {"service"}
    assert authenticate(bearer(signed(roles="reader service")), cloud).roles == {"reader", "service"}


def confused() -> str:
    """HS256 with the public key as the secret: what a verifier that trusts the header's algorithm accepts."""
    public = RSA_KEY.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    content = f"{part({'alg': 'HS256', 'typ': 'JWT', 'kid': 'rsa'})}.{part(claims())}"
    signature = hmac.digest(public, content.encode(), "sha256")
    return f"{content}.{base64.urlsafe_b64encode(signature).rstrip(b'=').decode()}"


def tampered() -> str:
    head, _, signature = signed().split(".")
    return f"{head}.{part(claims(sub='bob'))}.{signature}"


BAD_TOKENS: dict[str, Callable[[], str]] = {
    "no signature": lambda: f"{part({'alg': 'none', 'typ': 'JWT'})}.{part(claims())}.",
    "another key": lambda: signed(OTHER_KEY),
    "an unknown key": lambda: signed(OTHER_KEY, kid="other"),
    "expired": lambda: signed(exp=time.time() - 60),
    "never expires": lambda: signed(exp=None),
    "another audience": lambda: signed(aud="elsewhere"),
    "another issuer": lambda: signed(iss="https://evil.example"),
    "nobody": lambda: signed(sub=None),
    "an empty subject": lambda: signed(sub=""),
    "a subject with a line break": lambda: signed(sub="ann\nbob"),
    "the public key as a secret": confused,
    "changed after signing": tampered,
    "the laptop's secret": lambda: jwt.encode(claims(iss="sona-local"), SECRET, "HS256"),
}


@pytest.mark.parametrize("make", BAD_TOKENS.values(), ids=BAD_TOKENS.keys())
def test_what_the_issuer_did_not_sign_for_us_is_refused(cloud: Settings, make: Callable[[], str]) -> None:
    with pytest.raises(Unauthenticated):
        authenticate(bearer(make()), cloud)


@pytest.mark.parametrize("headers", [{}, {"Authorization": "Basic YTpi"}, {"Authorization": "Bearer "}])
def test_without_a_bearer_token_nobody_is_let_in(cloud: Settings, headers: dict[str, str]) -> None:
    with pytest.raises(Unauthenticated):
        authenticate(headers, cloud)


@given(token=st.text(st.characters(codec="ascii", exclude_characters="\r\n"), max_size=200))
def test_garbage_is_refused_and_never_breaks_the_verifier(token: str) -> None:
    with pytest.raises(Unauthenticated):
        authenticate(bearer(token), Settings(auth=AuthSettings(issuer=ISSUER, jwks_url="http://127.0.0.1:9/keys")))


def test_without_configuration_everybody_is_refused() -> None:
    for token in (signed(), jwt.encode(claims(iss="sona-local"), SECRET, "HS256")):
        with pytest.raises(Unauthenticated):
            authenticate(bearer(token), Settings())


def test_the_laptop_accepts_its_own_tokens_and_no_others(laptop: Settings) -> None:
    assert authenticate(bearer(sign_local_token(SECRET, "ann", ["service"])), laptop) == Identity(
        "ann", frozenset({"service"})
    )
    for token in (sign_local_token("f" * 32, "ann"), sign_local_token(SECRET, "ann", lifetime_s=-60), signed()):
        with pytest.raises(Unauthenticated):
            authenticate(bearer(token), laptop)


def test_the_laptops_secret_opens_nothing_in_the_cloud(laptop: Settings) -> None:
    with pytest.raises(Unauthenticated):
        authenticate(bearer(sign_local_token(SECRET, "ann")), Settings(edition="cloud", auth=laptop.auth))


def test_a_short_secret_is_a_configuration_error(tmp_path: Path) -> None:
    short = tmp_path / "short"
    short.write_text("secret")
    weak = Settings(edition="laptop", auth=AuthSettings(local_secret_file=str(short)))
    with pytest.raises(ConfigurationError, match="32 bytes"):
        authenticate(bearer(sign_local_token(SECRET, "ann")), weak)


def test_unreachable_keys_are_an_outage_and_not_a_refusal() -> None:
    away = Settings(auth=AuthSettings(issuer=ISSUER, audience=AUDIENCE, jwks_url="http://127.0.0.1:9/keys"))
    with pytest.raises(StoreUnavailable):
        authenticate(bearer(signed()), away)


def test_only_a_service_speaks_for_others() -> None:
    auth = AuthSettings()
    assert acting_for(Identity("ann"), None, auth) == "ann"
    assert acting_for(Identity("ann"), "ann", auth) == "ann"
    assert acting_for(Identity("batch", frozenset({"service"})), "ann", auth) == "ann"
    with pytest.raises(Forbidden):
        acting_for(Identity("bob"), "ann", auth)
    with pytest.raises(Forbidden):
        acting_for(Identity("bob", frozenset({""})), "ann", AuthSettings(service_role=""))


def test_only_the_push_service_account_may_push(jwks_url: str) -> None:
    auth = AuthSettings(push_audience="https://ingest.example", push_email=PUSHER, push_jwks_url=jwks_url)
    good = {"iss": "https://accounts.google.com", "aud": "https://ingest.example", "email": PUSHER}
    authenticate_push(bearer(signed(**good, email_verified=True)), Settings(auth=auth))
    for changes in (
        {"email_verified": False},
        {"email_verified": True, "email": "other@project.iam.gserviceaccount.com"},
        {"email_verified": True, "aud": "https://elsewhere.example"},
        {"email_verified": True, "iss": ISSUER},
    ):
        with pytest.raises(Unauthenticated):
            authenticate_push(bearer(signed(**(good | changes))), Settings(auth=auth))
    with pytest.raises(Unauthenticated):
        authenticate_push({}, Settings(auth=auth))


def without_signature(token: str) -> str:
    return f"{token.rpartition('.')[0]}.SIGNATURE_REMOVED_BY_GOOGLE"


def test_a_push_that_cloud_run_has_verified_comes_without_signature(jwks_url: str) -> None:
    here = {"push_audience": "https://ingest.example", "push_email": PUSHER, "push_jwks_url": jwks_url}
    auth = AuthSettings(**here, push_checked=True)
    good = {"iss": "https://accounts.google.com", "aud": "https://ingest.example", "email": PUSHER}
    arriving = without_signature(signed(**good, email_verified=True))
    authenticate_push(bearer(arriving), Settings(auth=auth))
    with pytest.raises(Unauthenticated):  # where nothing stands before the function, the marker proves nothing
        authenticate_push(bearer(arriving), Settings(auth=AuthSettings(**here)))
    for change in ({"aud": "https://other.example"}, {"iss": ISSUER}, {"email": "x@example.com"}, {"exp": 1}):
        with pytest.raises(Unauthenticated):
            authenticate_push(
                bearer(without_signature(signed(**(good | {"email_verified": True} | change)))), Settings(auth=auth)
            )


def test_another_signature_than_cloud_runs_marker_is_still_verified(jwks_url: str) -> None:
    auth = AuthSettings(
        push_audience="https://ingest.example", push_email=PUSHER, push_checked=True, push_jwks_url=jwks_url
    )
    good = {"iss": "https://accounts.google.com", "aud": "https://ingest.example", "email": PUSHER}
    token = signed(**good, email_verified=True)
    authenticate_push(bearer(token), Settings(auth=auth))
    with pytest.raises(Unauthenticated):
        authenticate_push(bearer(f"{token.rpartition('.')[0]}.{'A' * 342}"), Settings(auth=auth))


def test_unsigned_pushes_are_for_the_laptop_only() -> None:
    authenticate_push({}, Settings(edition="laptop"))
    with pytest.raises(Unauthenticated):
        authenticate_push({}, Settings())
    with pytest.raises(Unauthenticated):
        authenticate_push({}, Settings(auth=AuthSettings(push_audience="https://ingest.example")))


def test_no_local_token_is_signed_where_a_deployment_is_configured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SONA_EDITION", "cloud")
    monkeypatch.delenv("SONA_AUTH_LOCAL_SECRET_FILE", raising=False)
    monkeypatch.setenv("SONA_AUTH_JWKS_URL", "https://issuer.example/keys")
    settings.cache_clear()
    try:
        with pytest.raises(ConfigurationError):
            sign_local_token(SECRET, "ann")
    finally:
        settings.cache_clear()
