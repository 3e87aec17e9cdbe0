"""Pub/Sub `interactions`: events into the log, the user's state and the counters."""

import functions_framework
from flask import Request, Response

from core.api.http import dispatch
from core.api.routes import INGEST_ROUTES
from core.wiring import services, warm_up

warm_up("log", "publisher", "snapshots")


@functions_framework.http
def ingest(request: Request) -> Response:
    """Entry point of the push subscription: 200 acknowledges a message, 503 has it delivered again."""
    return dispatch(request, INGEST_ROUTES, services)
