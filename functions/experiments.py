"""HTTPS: experiments planned, started, judged and stopped; assignments and conversions."""

import functions_framework
from flask import Request, Response

from core.api.experiment_routes import EXPERIMENT_ROUTES
from core.api.http import dispatch
from core.wiring import services, warm_up

warm_up("log", "publisher")


@functions_framework.http
def experiments(request: Request) -> Response:
    """Entry point for the paths of EXPERIMENT_ROUTES; errors are JSON too."""
    return dispatch(request, EXPERIMENT_ROUTES, services)
