"""Paths about a person's rights: their data handed out, and their data gone."""

from __future__ import annotations

from typing import Any

from pydantic import TypeAdapter
from typing_extensions import TypedDict

from core.api.answers import rfc3339
from core.api.http import Call, Route
from core.api.schemas import ForUser
from core.flows.privacy import erase_user, export_user


class PersonBody(ForUser):
    """Whose data."""


class ExportOut(TypedDict):
    user_id: str
    exported_at: str
    data: dict[str, list[dict[str, Any]]]  # table -> rows


class EraseOut(TypedDict):
    status: str
    deleted: dict[str, int]  # table -> rows


def answer_export(call: Call) -> ExportOut:
    """Everything that is kept about a user."""
    user_id = call.user()
    return {"user_id": user_id, "exported_at": rfc3339(call.now), "data": dict(export_user(call.services, user_id))}


def answer_erase(call: Call) -> EraseOut:
    """Delete everything that is kept about a user, for good."""
    return {"status": "erased", "deleted": dict(erase_user(call.services, call.user()))}


PRIVACY_ROUTES = {
    "/api/v1/profile/export": {"POST": Route(answer_export, TypeAdapter(PersonBody), limit="train")},
    "/api/v1/profile/erase": {"POST": Route(answer_erase, TypeAdapter(PersonBody), limit="train")},
}
