"""The interface says in words what each call does, what each body holds, and what numbers are measured in."""

from collections.abc import Iterator
from typing import Any

import pytest

from core.api.openapi import document, page

OPERATIONS = [
    pytest.param(operation, id=f"{method} {path}")
    for path, methods in document()["paths"].items()
    for method, operation in methods.items()
]
SCHEMAS: dict[str, Any] = document()["components"]["schemas"]
UNITLESS = ("score", "weight", "confidence", "share", "rate", "gini", "norm", "reward")  # what could be of any scale


def fields() -> Iterator[tuple[str, Any]]:
    for schema, described in SCHEMAS.items():
        for field, known in described.get("properties", {}).items():
            yield f"{schema}.{field}", known


@pytest.mark.parametrize("operation", OPERATIONS)
def test_every_call_has_a_sentence_and_all_that_is_to_be_said_of_it(operation: Any) -> None:
    summary, description = operation["summary"], operation["description"]
    assert len(summary.split()) >= 3
    assert summary.endswith((".", "?"))
    assert description.startswith(summary)
    assert "\n" not in description


@pytest.mark.parametrize("name", SCHEMAS)
def test_every_schema_is_described_under_a_name_of_its_own(name: str) -> None:
    assert SCHEMAS[name]["description"].strip()
    assert "__" not in name  # two of one name get their modules' before it


def test_every_answer_says_what_is_missing_from_it_and_every_time_how_it_is_written() -> None:
    for name, known in fields():
        if name.endswith(".degraded"):
            assert "did not take part" in known["description"], name
        if name.endswith(("_at", ".last_updated", ".last_used", ".since")) and "Out." in name:
            assert "RFC 3339" in str(known), name


def test_what_an_answer_gives_as_a_share_or_a_score_says_of_what() -> None:
    silent = [
        name
        for name, known in fields()
        if name.partition(".")[0].endswith(("Out", "Row")) and name.endswith(UNITLESS) and "description" not in known
    ]
    assert silent == []


def test_the_page_tells_more_of_a_call_where_there_is_more() -> None:
    assert page().count("<p>What one user should watch now. Pins") == 1
    assert "<p>Everything that is kept about a user.</p>" not in page()  # the summary has said it
