"""HTTPS: attention mechanisms listed, selected for a query, and applied."""

import functions_framework
from flask import Request, Response

from core.api.attention_routes import ATTENTION_ROUTES
from core.api.http import dispatch
from core.wiring import services, warm_up

warm_up("router")


@functions_framework.http
def attention(request: Request) -> Response:
    """Entry point for the paths of ATTENTION_ROUTES; errors are JSON too."""
    return dispatch(request, ATTENTION_ROUTES, services)
