"""HTTPS: recommendations, similar titles and scores."""

import functions_framework
from flask import Request, Response

from core.api.http import dispatch
from core.api.routes import RECOMMEND_ROUTES
from core.wiring import services, warm_up

warm_up("snapshots", "publisher", "encoders", "patterns", "experiments")


@functions_framework.http
def recommend(request: Request) -> Response:
    """Entry point for the paths of RECOMMEND_ROUTES; errors are JSON too."""
    return dispatch(request, RECOMMEND_ROUTES, services)
