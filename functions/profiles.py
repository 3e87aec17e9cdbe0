"""HTTPS: what users say about themselves and what other systems know of their viewing."""

import functions_framework
from flask import Request, Response

from core.api.http import dispatch
from core.api.privacy_routes import PRIVACY_ROUTES
from core.api.routes import PROFILE_ROUTES
from core.wiring import services, warm_up

warm_up("publisher")


@functions_framework.http
def profiles(request: Request) -> Response:
    """Entry point for the paths of PROFILE_ROUTES and PRIVACY_ROUTES; errors are JSON too."""
    return dispatch(request, PROFILE_ROUTES | PRIVACY_ROUTES, services)
