"""HTTP clients of the functions, and what Pub/Sub would send them."""

import base64
import json
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from flask import Flask, request
from werkzeug.test import Client, TestResponse

from core.api.http import Routes, dispatch
from core.flows.services import Services
from core.local.tokens import sign_local_token

SECRET = uuid.uuid4().hex


@dataclass(frozen=True, slots=True)
class Function:
    """HTTP client of one function."""

    client: Client

    def post(
        self, path: str, body: Any, user: str | None = "ann", roles: tuple[str, ...] = (), **headers: str
    ) -> TestResponse:
        """`body` is sent as JSON, bytes as they are. `user` None: without a token."""
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        sent = {"Content-Type": "application/json"} | {name.replace("_", "-"): value for name, value in headers.items()}
        if user is not None:
            sent["Authorization"] = f"Bearer {sign_local_token(SECRET, user, roles)}"
        return self.client.post(path, data=data, headers=sent)

    def ask(self, path: str, body: Any, user: str = "ann") -> dict[str, Any]:
        """The answer to a call that must succeed."""
        answer = self.post(path, body, user)
        assert answer.status_code in (200, 202), answer.get_data(as_text=True)
        return dict(answer.get_json())


def serving(routes: Routes, services: Services) -> Function:
    """A client of the given routes in an instance with the given services."""
    app = Flask("instance")
    answer: Callable[..., Any] = lambda path: dispatch(request, routes, lambda: services)  # noqa: E731
    app.add_url_rule("/<path:path>", "run", answer, methods=["GET", "POST"])
    return Function(app.test_client())


class Published:
    """A publisher that keeps what it is given; the broker is tested elsewhere."""

    def __init__(self) -> None:
        self.messages: list[bytes] = []

    def publish(self, topic: str, ordering_key: str, data: bytes, attributes: Any) -> str:
        self.messages.append(data)
        return str(len(self.messages))

    def publish_best_effort(self, topic: str, ordering_key: str, data: bytes) -> bool:
        self.messages.append(data)
        return True


def envelope(data: bytes, message_id: str) -> dict[str, Any]:
    return {
        "message": {
            "data": base64.b64encode(data).decode(),
            "messageId": message_id,
            "publishTime": "2025-10-09T08:53:10.123Z",
        },
        "subscription": "projects/sona-local/subscriptions/interactions-push",
    }
