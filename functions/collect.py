"""HTTPS: interactions in, accepted when Pub/Sub has them."""

import functions_framework
from flask import Request, Response

from core.api.http import dispatch
from core.api.routes import COLLECT_ROUTES
from core.wiring import services, warm_up

warm_up("publisher")


@functions_framework.http
def collect(request: Request) -> Response:
    """Entry point for the paths of COLLECT_ROUTES; errors are JSON too."""
    return dispatch(request, COLLECT_ROUTES, services)
