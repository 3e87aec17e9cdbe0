"""What each route changes in a request, and that a caller's own filters stay."""

import numpy as np
import pytest
from router_queries import NOW

from core.ranking.query import Context, Filters, Query
from core.routing.entities import find_entities
from core.routing.plan import Plan, plan, with_entities
from core.routing.proposals import asked_for
from core.routing.router import Routing
from core.routing.routes import CLASSES, OUT_OF_DOMAIN, ROUTES
from core.snapshot.snapshot import Snapshot


def routed(*routes: str, confidence: float = 0.9) -> Routing:
    chances = dict.fromkeys(CLASSES, 0.0) | {routes[0]: confidence}
    named = () if routes[0] == OUT_OF_DOMAIN else tuple((name, confidence) for name in routes)
    return Routing(routes[0], confidence, named, chances, dict.fromkeys(ROUTES, 0.1), routes[:1], 0.1)


def planned(catalogue: Snapshot, text: str, *routes: str, query: Query | None = None, confidence: float = 0.9) -> Plan:
    entities = find_entities(catalogue, text)
    asked = query or Query("ann", text=text)
    return plan(asked, with_entities(routed(*routes, confidence=confidence), entities), entities)


def names(catalogue: Snapshot, made: Plan, allowed: np.ndarray | None = None) -> list[str]:
    everything = np.ones(len(catalogue), bool) if allowed is None else allowed
    ranking = asked_for(catalogue, made, everything, 20, NOW)
    return [] if ranking is None else [catalogue.title(row).title for row in ranking.rows]


def test_similarity_asks_for_the_neighbours_of_the_named_title_and_not_for_itself(catalogue: Snapshot) -> None:
    made = planned(catalogue, "something like alien 1979", "gnn_similarity")
    assert catalogue.title(made.like[0]).title == "Alien"
    assert made.query.text is None
    found = names(catalogue, made)
    assert "Aliens" in found[:5]
    assert "Alien" not in found


def test_similarity_to_an_unknown_title_is_a_search_by_its_words(catalogue: Snapshot) -> None:
    made = planned(catalogue, "shows like bottlecap chronicles", "gnn_similarity")
    assert (made.like, made.query.text) == ((), "shows like bottlecap chronicles")


def test_a_mixed_query_is_all_of_its_parts(catalogue: Snapshot) -> None:
    query = Query("ann", text="sci-fi like Stranger Things on my platforms", context=Context(region="DE"))
    made = planned(catalogue, query.text or "", "gnn_similarity", query=query)
    assert made.routes == ("gnn_similarity", "vector_search", "availability_check")
    assert made.query.filters.genres == ("science fiction",)
    assert made.query.filters.region == "DE"
    assert [catalogue.title(row).title for row in made.like] == ["Stranger Things"]


def test_a_search_keeps_its_text_and_gains_filters(catalogue: Snapshot) -> None:
    made = planned(catalogue, "korean thrillers from the 2000s", "vector_search")
    assert made.query.text == "korean thrillers from the 2000s"
    filters = made.query.filters
    assert (filters.genres, filters.languages) == (("thriller",), ("ko",))
    assert (filters.year_min, filters.year_max) == (2000, 2009)


def test_a_named_person_means_that_persons_titles(catalogue: Snapshot) -> None:
    made = planned(catalogue, "films by kurosawa", "vector_search")
    assert made.query.text is None
    assert set(names(catalogue, made)) >= {"Rashomon", "Ran", "Yojimbo"}


def test_a_mood_chooses_genres_that_fit_it(catalogue: Snapshot) -> None:
    made = planned(catalogue, "make me laugh", "mood_matching")
    assert made.query.context.mood == "happy"
    assert "comedy" in made.query.filters.genres
    assert made.query.text == "make me laugh"  # comedies differ: those that the words fit best have their share
    assert planned(catalogue, "feeling mauve", "mood_matching").query.text == "feeling mauve"


def test_freshness_asks_for_what_was_added_lately_or_leaves_soon(catalogue: Snapshot) -> None:
    offers = catalogue.availability
    new = planned(catalogue, "what's new", "catalog_freshness")
    ranking = asked_for(catalogue, new, np.ones(len(catalogue), bool), 20, NOW)
    assert ranking is not None
    latest = {
        int(row): offers["added_at"][(offers["row"] == row) & (offers["added_at"] <= NOW)].max() for row in ranking.rows
    }
    assert all(NOW - at < 45 * 86_400 for at in latest.values())
    assert planned(catalogue, "what's leaving soon", "catalog_freshness").fresh == "leaving"


def test_availability_answers_about_the_named_titles_seen_or_not(catalogue: Snapshot) -> None:
    made = planned(catalogue, "is heat on kinova", "availability_check")
    assert names(catalogue, made) == ["Heat"]
    assert not made.query.exclude_seen
    assert made.query.filters.services == ()


def test_availability_of_a_kind_filters_by_platform(catalogue: Snapshot) -> None:
    made = planned(catalogue, "which westerns are on popcorn row", "availability_check", "vector_search")
    assert made.query.filters.services == ("Popcorn Row",)
    assert made.query.filters.genres == ("western",)


def test_a_personal_query_leaves_the_choice_to_the_taste(catalogue: Snapshot) -> None:
    made = planned(catalogue, "what should i watch tonight", "personalized_hybrid")
    assert (made.query.text, made.share, names(catalogue, made)) == (None, 0.0, [])


def test_out_of_domain_searches_for_nothing(catalogue: Snapshot) -> None:
    made = planned(catalogue, "what's the weather like", OUT_OF_DOMAIN)
    assert (made.query.text, made.routes) == (None, ())


def test_what_is_unsure_is_searched_for_as_it_stands(catalogue: Snapshot) -> None:
    made = planned(catalogue, "sunny side", "mood_matching", confidence=0.3)
    assert made.query.text == "sunny side"
    assert made.routes[0] == "vector_search"


@pytest.mark.parametrize("route", ROUTES)
def test_the_callers_filters_win(catalogue: Snapshot, route: str) -> None:
    given = Filters(types=("episode",), genres=("drama",), year_min=1950, services=("Kinova",), region="US")
    text = "korean comedies from the 90s on reelwick in germany like heat"
    made = planned(catalogue, text, route, query=Query("ann", text=text, filters=given))
    kept = made.query.filters
    assert (kept.types, kept.genres, kept.year_min) == (("episode",), ("drama",), 1950)
    assert (kept.services, kept.region) == (("Kinova",), "US")


def test_on_my_platforms_means_the_viewers_own_unless_one_is_named(catalogue: Snapshot) -> None:
    made = planned(catalogue, "comedies on my platforms", "availability_check")
    assert made.query.filters.own_platforms
    assert made.query.filters.services == ()
    named = planned(catalogue, "comedies on my platforms or on reelwick", "availability_check")
    assert not named.query.filters.own_platforms
    assert named.query.filters.services == ("Reelwick",)


@pytest.mark.parametrize(
    ("text", "found", "not_found"),
    [
        ("what else did the director of parasite make", "Memories of Murder", "Parasite"),
        ("other films by whoever directed inception", "The Prestige", "Inception"),
        ("shows with the cast of the office 2005", None, "The Office"),
    ],
)
def test_people_named_by_a_title_lead_to_their_other_titles(
    catalogue: Snapshot, text: str, found: str | None, not_found: str
) -> None:
    made = planned(catalogue, text, "gnn_similarity")
    assert made.routes[0] == "vector_search"
    assert (made.like, made.named, made.query.text) == ((), (), None)
    answers = names(catalogue, made)
    assert found is None or found in answers
    assert not_found not in answers


def test_who_asks_for_something_like_a_title_does_not_ask_for_its_people(catalogue: Snapshot) -> None:
    assert planned(catalogue, "something like parasite", "gnn_similarity").like
    assert planned(catalogue, "people who liked parasite also liked", "gnn_similarity").like


def test_what_cannot_all_be_met_is_given_up_step_by_step(catalogue: Snapshot) -> None:
    query = Query("ann", text="german thrillers from the nineties on my platforms", context=Context(region="DE"))
    made = planned(catalogue, query.text or "", "vector_search", query=query)
    wanted = made.query.filters
    assert (wanted.own_platforms, wanted.languages, wanted.genres) == (True, ("de",), ("thriller",))
    anywhere, of_any_origin, given = made.weaker
    assert (anywhere.own_platforms, anywhere.region, anywhere.languages) == (False, None, ("de",))
    assert (of_any_origin.languages, of_any_origin.year_min, of_any_origin.genres) == ((), None, ("thriller",))
    assert given == query.filters
    assert planned(catalogue, "recommend me something", "personalized_hybrid").weaker == ()
