"""HTTPS: users' adapters loaded, applied, taught, looked at, taken back and trained."""

import functions_framework
from flask import Request, Response

from core.api.adapter_routes import ADAPTER_ROUTES
from core.api.http import dispatch
from core.wiring import services, warm_up

warm_up("log", "snapshots", "publisher")


@functions_framework.http
def adapters(request: Request) -> Response:
    """Entry point for the paths of ADAPTER_ROUTES; errors are JSON too."""
    return dispatch(request, ADAPTER_ROUTES, services)
