"""The recommend function in the framework's asynchronous form: an experiment, compared with the deployed one.

The same `dispatch` serves it. In the event loop a request blocks the others while it waits for the hot store, about a
tenth of its time; `recommend_threads` lets each wait in a thread of the executor.
"""

from __future__ import annotations

import asyncio
from typing import Any

import functions_framework.aio
from flask import Response
from starlette.requests import Request as AsgiRequest
from starlette.responses import Response as AsgiResponse

from core.api.http import JSON_TYPE, dispatch
from core.api.routes import RECOMMEND_ROUTES
from core.wiring import services, warm_up

warm_up("snapshots", "publisher")


class ReadRequest:
    """As much of flask.Request as `dispatch` uses, over an asynchronous request whose body has been read."""

    def __init__(self, request: AsgiRequest, body: bytes) -> None:
        self.path = request.url.path
        self.method = request.method
        self.headers = request.headers
        self.content_length = len(body)
        self.is_json = request.headers.get("content-type", "").partition(";")[0].strip() == JSON_TYPE
        self.max_content_length: int | None = None
        self._body = body

    def get_data(self) -> bytes:
        return self._body


def answer(request: AsgiRequest, body: bytes) -> AsgiResponse:
    read: Any = ReadRequest(request, body)
    response: Response = dispatch(read, RECOMMEND_ROUTES, services)
    return AsgiResponse(response.get_data(), response.status_code, dict(response.headers))


@functions_framework.aio.http
async def recommend(request: AsgiRequest) -> AsgiResponse:
    return answer(request, await request.body())


@functions_framework.aio.http
async def recommend_threads(request: AsgiRequest) -> AsgiResponse:
    return await asyncio.to_thread(answer, request, await request.body())
