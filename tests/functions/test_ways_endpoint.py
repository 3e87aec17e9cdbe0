"""POST /api/v1/recommendations/similar with `via`: which titles are how many people away, and through whom."""

from typing import Any

import pytest
from function_client import Function

from core.catalog import Title
from core.flows.services import Services

PATH = "/api/v1/recommendations/similar"


@pytest.fixture(scope="module")
def stored(deployment: Services, catalogue: tuple[Title, ...]) -> None:
    deployment.catalog.upsert(catalogue)


@pytest.fixture
def ask(recommend: Function, stored: None) -> Any:
    def similar(**body: object) -> list[dict[str, Any]]:
        return recommend.ask(PATH, {"content_id": "title-07", "limit": 100, **body})["similar_content"]

    return similar


def test_one_hop_through_the_director_leads_to_the_director_s_other_titles(ask: Any) -> None:
    found = ask(via=["director"])
    assert {row["content_id"] for row in found} == {"title-05", "title-06", "title-08", "title-09"}
    assert {row["relation"] for row in found} == {"Ben Boyle"}
    assert found[0]["path"] == [{"via": "director", "name": "Ben Boyle", "content_id": found[0]["content_id"]}]
    assert {row["score"] for row in found} == {0.5}


def test_more_hops_lead_further_each_title_with_its_shortest_way(ask: Any) -> None:
    near, far = ask(via=["director", "cast"]), ask(via=["director", "cast"], hops=2)
    ids = [row["content_id"] for row in far]
    assert {row["content_id"] for row in near} < set(ids)
    assert len(set(ids)) == len(ids)
    assert "title-07" not in ids
    scores = [row["score"] for row in far]
    assert scores == sorted(scores, reverse=True)
    hops = {row["content_id"]: len(row["path"]) for row in far}
    assert all(hops[row["content_id"]] == 1 for row in near)
    further = next(row for row in far if len(row["path"]) == 2)
    between = further["path"][0]
    assert further["relation"].startswith(f"{between['name']}; through Title ")
    assert further["path"][1]["content_id"] == further["content_id"]


def test_filters_hold_and_nobody_in_common_leads_nowhere(ask: Any) -> None:
    dramas = ask(via=["cast"], hops=2, filters={"genres": ["drama"]})
    assert dramas
    assert {row["content_id"] for row in dramas} < {row["content_id"] for row in ask(via=["cast"], hops=2)}
    assert ask(via=["franchise"], hops=3) == []


@pytest.mark.parametrize("body", [{"via": []}, {"via": ["genre"]}, {"via": ["cast"], "hops": 4}])
def test_what_cannot_be_walked_is_refused(recommend: Function, stored: None, body: dict[str, object]) -> None:
    assert recommend.post(PATH, {"content_id": "title-07", **body}).status_code == 422


def test_an_unknown_title_is_not_found(recommend: Function, stored: None) -> None:
    assert recommend.post(PATH, {"content_id": "no-such-title", "via": ["cast"]}).status_code == 404


def test_without_via_titles_have_no_path(ask: Any) -> None:
    assert all("path" not in row for row in ask())
