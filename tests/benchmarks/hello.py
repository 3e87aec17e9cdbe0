"""The least that the framework can do: what every figure of a request is compared with."""

import functions_framework
import functions_framework.aio
from flask import Request, Response
from starlette.requests import Request as AsgiRequest
from starlette.responses import Response as AsgiResponse

BODY = b'{"hello":"world"}'


@functions_framework.http
def hello(request: Request) -> Response:
    request.get_data()
    return Response(BODY, content_type="application/json")


@functions_framework.aio.http
async def hello_async(request: AsgiRequest) -> AsgiResponse:
    await request.body()
    return AsgiResponse(BODY, media_type="application/json")


@functions_framework.aio.http
def hello_threads(request: AsgiRequest) -> AsgiResponse:
    return AsgiResponse(BODY, media_type="application/json")
