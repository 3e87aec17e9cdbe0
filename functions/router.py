"""HTTPS: queries routed, models chosen for them, and what was counted."""

import functions_framework
from flask import Request, Response

from core.api.http import dispatch
from core.api.router_routes import ROUTER_ROUTES
from core.wiring import services, warm_up

warm_up("snapshots", "encoders")


@functions_framework.http
def router(request: Request) -> Response:
    """Entry point for the paths of ROUTER_ROUTES; errors are JSON too."""
    return dispatch(request, ROUTER_ROUTES, services)
