"""Pub/Sub `adaptation-requests`: a user's slow tier learns from what happened since."""

import functions_framework
from flask import Request, Response

from core.api.adapter_routes import ADAPT_ROUTES
from core.api.http import dispatch
from core.wiring import services, warm_up

warm_up("log", "snapshots")


@functions_framework.http
def adapt(request: Request) -> Response:
    """Entry point of the push subscription: 200 acknowledges a message, 503 has it delivered again."""
    return dispatch(request, ADAPT_ROUTES, services)
