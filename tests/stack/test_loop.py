"""The loop through real processes: recommend, interact, Pub/Sub, learn, and the next answer is different."""

import time

import pytest

from core.errors import SonaError
from core.local.demo_story import Client


def eventually(check: object, patience_s: float = 10.0) -> None:
    deadline = time.monotonic() + patience_s
    while not check():  # type: ignore[operator]
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_watched_titles_disappear_and_move_the_next_answer(viewer: Client) -> None:
    watched = {row["content_id"] for row in viewer.recommendations()[:3]}
    viewer.post(
        "/api/v1/interactions",
        {"interactions": [{"content_id": title, "type": "watch_complete"} for title in sorted(watched)]},
    )
    eventually(lambda: not watched & {row["content_id"] for row in viewer.recommendations()})
    eventually(lambda: any(watched & set(row["based_on"]) for row in viewer.recommendations()))


def test_recent_events_change_the_answer_before_they_are_ingested(viewer: Client) -> None:
    before = viewer.recommendations()
    watched = before[0]["content_id"]
    event = {"content_id": watched, "type": "watch_complete"}
    after = viewer.recommendations(recent_events=[event])
    assert watched not in [row["content_id"] for row in after]


def test_onboarding_genres_shape_the_first_answer(viewer: Client) -> None:
    viewer.post("/api/v1/profile/onboarding", {"genres": ["horror"]})
    eventually(lambda: sum("horror" in row["explanation"] for row in viewer.recommendations()) >= 3)


def test_an_unknown_title_is_a_404_that_names_it(viewer: Client) -> None:
    with pytest.raises(SonaError, match=r"404.*no-such-title"):
        viewer.post("/api/v1/recommendations/similar", {"content_id": "no-such-title"})
