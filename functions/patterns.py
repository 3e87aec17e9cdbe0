"""HTTPS: the reasoning bank, its patterns stored, found, applied and maintained."""

import functions_framework
from flask import Request, Response

from core.api.http import dispatch
from core.api.pattern_routes import PATTERN_ROUTES
from core.wiring import services, warm_up

warm_up("log", "snapshots", "patterns")


@functions_framework.http
def patterns(request: Request) -> Response:
    """Entry point for the paths of PATTERN_ROUTES; errors are JSON too."""
    return dispatch(request, PATTERN_ROUTES, services)
