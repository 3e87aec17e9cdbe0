"""Requests in words through HTTP: each route changes the answer, and the answer says what the words were taken for."""

import time
from collections.abc import Callable
from pathlib import Path

import pytest
from function_client import Function

from core.catalog import Title
from core.embedding.model_store import publish_model
from core.flows.services import Services
from core.stores.gcs import ensure_bucket

Find = Callable[[str], Title]
PATH = "/api/v1/recommendations"


@pytest.fixture(scope="module")
def asked(deployment: Services, recommend: Function, encoder_folder: Path) -> Function:
    """The recommend function where the encoder is published."""
    ensure_bucket(deployment.settings.stores)
    publish_model(deployment.models, encoder_folder)
    return recommend


@pytest.fixture(scope="module")
def find(deployment: Services) -> Find:
    """The title with a content id."""
    snapshot = deployment.snapshots.current(time.time())
    return lambda content_id: snapshot.title(snapshot.row(content_id) or 0)


def ids(answer: dict) -> list[str]:
    return [item["content_id"] for item in answer["recommendations"]]


def test_something_like_a_title_is_near_it_and_says_why(asked: Function, find: Find) -> None:
    answer = asked.ask(PATH, {"query": "something like Title 12", "limit": 5})
    assert answer["routing"]["route_name"] == "gnn_similarity"
    assert answer["routing"]["entities"]["titles"] == [{"mention": "title 12", "content_ids": ["title-12"]}]
    found = ids(answer)
    assert "title-12" not in found
    anchor = find("title-12")
    about = lambda title: {*title.genres, *title.directors, *title.keywords}  # noqa: E731
    shared = [bool(about(find(name)) & about(anchor)) for name in found]
    assert sum(shared) >= 4
    assert any(item["based_on"] == ["title-12"] for item in answer["recommendations"])


def test_a_question_of_availability_is_answered_about_that_title(asked: Function) -> None:
    answer = asked.ask(PATH, {"query": "is Title 7 on flimmer", "limit": 5})
    assert answer["routing"]["route_name"] == "availability_check"
    assert ids(answer) == ["title-07"]
    offers = answer["routing"]["availability"]
    assert [(offer["service"], offer["region"], offer["expires_at"]) for offer in offers] == [("kinoplus", "DE", None)]


def test_words_filter_as_filters_do(asked: Function, find: Find) -> None:
    answer = asked.ask(PATH, {"query": "which comedies are on kinoplus", "limit": 20})
    assert {"availability_check", "vector_search"} <= {route["route_name"] for route in answer["routing"]["routes"]}
    assert ids(answer)
    for name in ids(answer):
        assert "comedy" in find(name).genres
        assert find(name).availability[0].service == "kinoplus"


def test_a_mood_narrows_to_what_fits_it(asked: Function, find: Find) -> None:
    answer = asked.ask(PATH, {"query": "i had a terrible day, cheer me up", "limit": 5})
    assert answer["routing"]["entities"]["mood"] == "happy"
    assert all({"comedy", "family"} & set(find(name).genres) for name in ids(answer))


def test_a_persons_name_means_that_persons_titles(asked: Function, find: Find) -> None:
    answer = asked.ask(PATH, {"query": "films directed by Eve Engel", "limit": 20})
    assert answer["routing"]["entities"]["people"] == ["Eve Engel"]
    assert ids(answer)
    assert all("Eve Engel" in find(name).directors for name in ids(answer))


def test_a_personal_question_is_answered_as_one_without_words(asked: Function) -> None:
    plain = asked.ask(PATH, {"limit": 5}, user="viewer-3")
    spoken = asked.ask(PATH, {"query": "what should i watch tonight", "limit": 5}, user="viewer-3")
    assert spoken["routing"]["route_name"] == "personalized_hybrid"
    assert ids(spoken) == ids(plain)
    assert "routing" not in plain


def test_what_is_no_query_for_titles_is_marked_and_searched_for_nowhere(asked: Function) -> None:
    answer = asked.ask(PATH, {"query": "remind me to call my mother tomorrow at nine", "limit": 5})
    assert answer["routing"]["route_name"] == "out_of_domain"
    assert all("search" not in item["score_parts"] for item in answer["recommendations"])


def test_wishes_that_nothing_fulfils_together_still_get_an_answer_that_says_what_it_lacks(asked: Function) -> None:
    answer = asked.ask(PATH, {"query": "japanese comedies from the 1920s", "limit": 5})
    assert len(ids(answer)) == 5
    assert set(answer["given_up"]) == {"languages", "year_min", "year_max"}
    assert "given_up" not in asked.ask(PATH, {"query": "german comedies", "limit": 5})
