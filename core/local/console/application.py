"""The console's files, and what its page needs beyond the public interface.

The page asks and teaches through the functions, as every client does. Three things are the laptop's own: a token for
whichever viewer somebody wants to be, the demo's viewers, and facts about titles, which a platform has itself. A token
for anybody is nothing to serve from a network, so only requests of this machine's own browser are answered: the
edition must be the laptop's, the Host a name of the loopback (no other name can be rebound to us), and a request that
names its origin must come from the very same one.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from flask import Flask, Response, current_app, request, send_from_directory

from core.api.auth import LAPTOP, read_secret
from core.catalog import Title
from core.errors import SonaError
from core.flows.services import Services
from core.local.simulator import DEMO_VIEWERS
from core.local.simulator.audience import AGE_BANDS
from core.local.tokens import sign_local_token
from core.wiring import services

PATH = "/console"
STATIC = Path(__file__).parent / "static"
OUR_NAMES = {"127.0.0.1", "localhost", "::1"}
TOKEN_LIVES_S = 3600.0
MAX_TITLES = 200
MAX_BODY_BYTES = 1024
HEADERS = {
    "Content-Security-Policy": "default-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}

Answer = tuple[dict[str, Any], int]


def console(here: Callable[[], Services] = services) -> Flask:
    """The WSGI application of `/` and everything below PATH, on the services that `here` gives."""
    app = Flask(__name__, static_folder=None)
    app.config["SERVICES"] = here
    app.config["MAX_CONTENT_LENGTH"] = MAX_BODY_BYTES
    app.before_request(refuse_strangers)
    app.after_request(_protected)
    app.register_error_handler(SonaError, _failed)
    app.add_url_rule("/", "page", _page)
    app.add_url_rule(PATH, "console", _page)
    app.add_url_rule(f"{PATH}/about", "about", about)
    app.add_url_rule(f"{PATH}/titles", "titles", titles)
    app.add_url_rule(f"{PATH}/token", "token", token, methods=["POST"])
    app.add_url_rule(f"{PATH}/<path:name>", "file", file)
    return app


def _our_services() -> Services:
    built: Services = current_app.config["SERVICES"]()
    return built


def refuse_strangers() -> Answer | None:
    """An answer to whom the console is not for; None lets the request pass."""
    if _our_services().settings.edition != LAPTOP:
        return _problem(404, "not_found", "no such path")
    if _name_in(f"//{request.host}") not in OUR_NAMES:
        return _problem(403, "forbidden", "the console answers on 127.0.0.1 and localhost only")
    origin = request.headers.get("Origin")
    if origin is not None and origin != f"{request.scheme}://{request.host}":
        return _problem(403, "forbidden", "the console answers its own page only")
    if request.headers.get("Sec-Fetch-Site", "none") not in ("same-origin", "none") and request.path not in ("/", PATH):
        return _problem(403, "forbidden", "the console answers its own page only")
    return None


def _name_in(address: str) -> str | None:
    try:
        return urlsplit(address).hostname
    except ValueError:
        return None


def _protected(response: Response) -> Response:
    response.headers.update(HEADERS)
    response.headers.setdefault("Cache-Control", "no-store")
    return response


def _failed(error: Exception) -> Answer:
    return _problem(503, "unavailable", str(error))


def _problem(status: int, code: str, message: str) -> Answer:
    return {"error": code, "message": message}, status


def _page() -> Response:
    return file("index.html")


def file(name: str) -> Response:
    """A file of the page; checked anew each time, and sent only when it has changed."""
    return send_from_directory(STATIC, name, max_age=0)


def about() -> dict[str, Any]:
    """Who can be chosen and what can be said at onboarding. Demo viewers are named while their history is loaded."""
    here = _our_services()
    known = [persona for persona in DEMO_VIEWERS.values() if here.log.load_state(persona.user_id) is not None]
    words = here.snapshot(time.time())[0].vocabulary
    return {
        "viewers": [{"user_id": one.user_id, "about": one.about, "region": one.region} for one in known],
        "genres": sorted(words.genres),
        "age_bands": list(AGE_BANDS),
        "regions": sorted(words.regions),
    }


def titles() -> dict[str, Any]:
    """Facts about the titles in `id`, as many as are known."""
    snapshot, _ = _our_services().snapshot(time.time())
    rows = {name: snapshot.row(name) for name in request.args.getlist("id")[:MAX_TITLES]}
    return {"titles": {name: _facts(snapshot.title(row)) for name, row in rows.items() if row is not None}}


def _facts(title: Title) -> dict[str, Any]:
    return {
        "title": title.title,
        "type": title.type,
        "year": title.year,
        "genres": title.genres,
        "makers": (title.directors or title.creators)[:2],
        "cast": title.cast[:4],
        "overview": title.overview,
    }


def token() -> Answer:
    """A token for the viewer that the page's user wants to be. It speaks for that viewer only and has no role."""
    body = request.get_json(silent=True)  # None unless it is sent as JSON, which no foreign form can
    user_id = body.get("user_id") if isinstance(body, dict) else None
    if not isinstance(user_id, str) or not 0 < len(user_id) <= 128 or not user_id.isprintable():
        return _problem(422, "invalid_input", "user_id: 1 to 128 printable characters")
    secret = read_secret(_our_services().settings.auth.local_secret_file)
    return {"token": sign_local_token(secret, user_id, lifetime_s=TOKEN_LIVES_S), "user_id": user_id}, 200
