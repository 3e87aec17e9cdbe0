"""Sessions read off events: where they end, what they were about, and which of them succeeded."""

import random

import pytest

from core.interaction import Interaction, InteractionType, Onboarding
from core.patterns.session import DECAY, MAX_POSITIVES, Trajectory, trajectories

AT = 1_790_000_000.0
T = InteractionType


def event(number: int, kind: InteractionType, title: str, minutes: float, **fields: object) -> tuple[int, Interaction]:
    return number, Interaction(f"e{number}", "ann", title, kind, AT + 60.0 * minutes, **fields)  # type: ignore[arg-type]


def watched(titles: str, minutes: float, first: int = 1) -> list[tuple[int, Interaction]]:
    """One completed title every ten minutes."""
    return [event(first + n, T.WATCH_COMPLETE, name, minutes + 10 * n) for n, name in enumerate(titles)]


def found(*events: tuple[int, object]) -> list[Trajectory]:
    return list(trajectories(events))  # type: ignore[arg-type]


def test_a_pause_of_more_than_half_an_hour_ends_a_session() -> None:
    one, other = found(*watched("abc", 0), *watched("de", 51, first=4))
    assert (list(one.results), list(other.results)) == (["a", "b", "c"], ["d", "e"])
    assert len(found(*watched("abc", 0), *watched("de", 50, first=4))) == 1


def test_a_film_that_is_being_watched_is_no_pause() -> None:
    start = event(1, T.WATCH_START, "film", 0)
    end = event(2, T.WATCH_COMPLETE, "film", 150)
    assert len(found(start, end, *watched("ab", 155, first=3))) == 1
    assert len(found(start, event(2, T.WATCH_COMPLETE, "another", 150))) == 2
    assert len(found(start, event(2, T.WATCH_COMPLETE, "film", 7 * 60))) == 2


@pytest.mark.parametrize(
    ("kind", "fields", "strength"),
    [
        (T.SEARCH_CLICK, {}, 0.2),
        (T.WATCH_START, {}, None),
        (T.WATCH_PROGRESS, {"progress": 0.5}, None),
        (T.WATCH_PROGRESS, {"progress": 0.6}, 0.48),
        (T.WATCH_COMPLETE, {}, 1.0),
        (T.LIKE, {}, 0.9),
        (T.RATING_EXPLICIT, {"rating": 3.5}, 0.45),
        (T.RATING_EXPLICIT, {"rating": 2.0}, -0.9),
        (T.SKIP_CONTENT, {}, -0.3),
        (T.IMPRESSION, {}, None),
    ],
)
def test_results_weigh_what_was_done(kind: InteractionType, fields: dict, strength: float | None) -> None:
    [session] = found(event(1, T.WATCH_COMPLETE, "first", 0), event(2, kind, "a", 1, **fields))
    assert session.results.get("a") == (None if strength is None else pytest.approx(strength))


def test_of_one_title_the_strongest_counts_and_a_word_against_it_last() -> None:
    click, done = event(1, T.SEARCH_CLICK, "a", 0), event(2, T.WATCH_COMPLETE, "a", 1)
    assert found(click, done)[0].results == {"a": 1.0}
    assert found(done, event(3, T.DISLIKE, "a", 2))[0].results == {"a": -0.9}


@pytest.mark.parametrize(
    ("positives", "kind", "succeeds"),
    [(3, T.WATCH_COMPLETE, True), (2, T.WATCH_COMPLETE, False), (3, T.LIKE, True), (9, T.SEARCH_CLICK, False)],
)
def test_three_good_results_are_a_success_and_clicks_are_not(
    positives: int, kind: InteractionType, succeeds: bool
) -> None:
    [session] = found(*(event(n, kind, f"t{n}", n) for n in range(positives)))
    assert session.succeeded is succeeds


def test_negatives_lower_the_quality_until_it_is_no_success() -> None:
    good = watched("abc", 0)
    qualities = []
    for bad in range(5):
        [session] = found(*good, *(event(10 + n, T.DISLIKE, f"bad{n}", 20 + n) for n in range(bad)))
        qualities.append(session.quality)
    assert qualities == sorted(qualities, reverse=True)
    assert (qualities[0], qualities[1]) == (1.0, pytest.approx(3 / 3.9))
    assert not session.succeeded


def test_the_query_is_what_was_liked_before() -> None:
    _, session = found(*watched("abc", 0), event(4, T.DISLIKE, "b", 21), *watched("xyz", 100, first=5))
    assert session.anchors == {"c": 1.0, "a": DECAY}


def test_long_sessions_are_several_each_with_the_likes_before_it() -> None:
    names = [f"t{n}" for n in range(MAX_POSITIVES + 5)]
    one, other = found(*(event(n, T.WATCH_COMPLETE, name, n) for n, name in enumerate(names)))
    assert (len(one.results), len(other.results)) == (MAX_POSITIVES, 5)
    assert set(other.anchors) == set(one.results)


def test_the_order_of_arrival_does_not_matter() -> None:
    events = [*watched("abcd", 0), *watched("efgh", 200, first=5), event(9, T.SKIP_CONTENT, "i", 230)]
    shuffled = events.copy()
    random.Random(3).shuffle(shuffled)
    assert found(*events) == found(*shuffled)


def test_the_name_of_a_session_stays_when_it_grows_and_differs_between_users() -> None:
    one, more = found(*watched("abc", 0))[0], found(*watched("abcd", 0))[0]
    assert one.session_id == more.session_id
    bob = [(n, Interaction(e.event_id, "bob", e.content_id, e.type, e.occurred_at)) for n, e in watched("abc", 0)]
    assert found(*bob)[0].session_id != one.session_id


def test_onboarding_and_impressions_are_nothing_that_a_session_is_made_of() -> None:
    told = (1, Onboarding("o", "ann", AT, genres=("drama",)))
    assert found(told, event(2, T.IMPRESSION, "a", 0)) == []
    assert found() == []
