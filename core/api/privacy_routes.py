"""Paths about a person's rights: their data handed out, and their data gone."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field, TypeAdapter
from typing_extensions import TypedDict

from core.api.answers import rfc3339
from core.api.http import Call, Route
from core.api.schemas import ForUser, Moment
from core.flows.privacy import erase_user, export_user


class PersonBody(ForUser):
    """Whose data."""


class ExportOut(TypedDict):
    """Everything that is kept about a user."""

    user_id: str
    exported_at: Moment
    data: Annotated[
        dict[str, list[dict[str, Any]]], Field(description="table -> rows; without dead_letters: nobody looked there")
    ]


class EraseOut(TypedDict):
    """What is gone."""

    status: Annotated[str, Field(description="erased")]
    deleted: Annotated[dict[str, int], Field(description="table -> number of rows; without dead_letters: they stay")]


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
