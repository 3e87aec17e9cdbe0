import itertools

import numpy as np
import pytest

import core.snapshot.inputs as inputs
from core.catalog import content_key
from core.interaction import Interaction, InteractionType, Onboarding, signal_strength
from core.snapshot.inputs import collect_interactions

T = InteractionType


def event(kind: InteractionType, at: float = 0.0, user: str = "ada", title: str = "heat-1995", **facts) -> Interaction:
    return Interaction(f"{user}-{title}-{kind}-{at}", user, title, kind, at, **facts)


@pytest.mark.parametrize(
    ("kind", "facts", "weight"),
    [
        (T.RATING_EXPLICIT, {"rating": 5.0}, 0.9),
        (T.RATING_EXPLICIT, {"rating": 3.5}, 0.45),
        (T.RATING_EXPLICIT, {"rating": 3.0}, 0.0),
        (T.RATING_EXPLICIT, {"rating": 0.5}, -0.9),
        (T.WATCH_PROGRESS, {"progress": 0.95}, 1.0),
        (T.WATCH_PROGRESS, {"progress": 0.5}, 0.4),
        (T.WATCH_COMPLETE, {}, 1.0),
        (T.LIKE, {}, 0.9),
        (T.WATCH_START, {}, 0.3),
        (T.SEARCH_CLICK, {}, 0.2),
        (T.SKIP_CONTENT, {}, -0.3),
        (T.DISLIKE, {}, -0.9),
        (T.IMPRESSION, {}, 0.0),
    ],
)
def test_weight_of_each_event(kind: InteractionType, facts: dict, weight: float) -> None:
    assert signal_strength(event(kind, **facts)) == pytest.approx(weight)


@pytest.mark.parametrize(
    ("events", "weight"),
    [
        ([event(T.WATCH_START, 1), event(T.WATCH_PROGRESS, 2, progress=0.8), event(T.SEARCH_CLICK, 3)], 0.64),
        ([event(T.WATCH_COMPLETE, 1), event(T.RATING_EXPLICIT, 2, rating=2.0)], -0.9),
        ([event(T.RATING_EXPLICIT, 1, rating=5.0), event(T.SKIP_CONTENT, 2)], 0.9),
        ([event(T.LIKE, 1), event(T.DISLIKE, 2)], -0.9),
        ([event(T.DISLIKE, 1), event(T.LIKE, 2)], 0.9),
        ([event(T.RATING_EXPLICIT, 2, rating=3.0), event(T.WATCH_COMPLETE, 1)], 0.0),
        ([event(T.WATCH_START, 1), event(T.SKIP_CONTENT, 2)], -0.3),
        ([event(T.SKIP_CONTENT, 1), event(T.WATCH_PROGRESS, 2, progress=0.5)], 0.4),
    ],
)
def test_the_latest_word_outweighs_acts_and_otherwise_the_strongest_act_counts(
    events: list[Interaction], weight: float
) -> None:
    for order in itertools.permutations(events):
        collected = collect_interactions(order)
        assert collected.weight.tolist() == [pytest.approx(weight)]
        assert collected.key.tolist() == [content_key("heat-1995")]


def test_rows_are_sorted_by_user_and_time_and_impressions_leave_none() -> None:
    collected = collect_interactions(
        [
            event(T.LIKE, 5.0, user="ada", title="b"),
            event(T.LIKE, 9.0, user="bob", title="b", device="tv"),
            event(T.LIKE, 3.0, user="ada", title="c", device="mobile"),
            event(T.IMPRESSION, 4.0, user="ada", title="d"),
        ]
    )
    assert collected.user.tolist() == [0, 0, 1]
    assert collected.at.tolist() == [3.0, 5.0, 9.0]
    assert collected.key.tolist() == [content_key("c"), content_key("b"), content_key("b")]
    assert [collected.device_names[code] if code >= 0 else None for code in collected.device] == ["mobile", None, "tv"]


def test_a_later_onboarding_replaces_an_earlier_one() -> None:
    collected = collect_interactions(
        [
            Onboarding("2", "ada", 20.0, age_band="25-34", language="de"),
            Onboarding("1", "ada", 10.0, age_band="18-24", region="FR"),
            event(T.LIKE, user="bob"),
        ]
    )
    names = [[collected.segment_names[code] if code >= 0 else None for code in row] for row in collected.segments]
    assert names == [["age:25-34", None, "language:de"], [None, None, None]]


def test_reducing_in_chunks_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(3)
    kinds = [kind for kind in T if kind is not T.IMPRESSION]
    events = [
        Interaction(
            str(number),
            f"user-{rng.integers(8)}",
            f"title-{rng.integers(12)}",
            kinds[rng.integers(len(kinds))],
            float(rng.integers(100)),
            progress=float(rng.random()),
            rating=float(rng.integers(1, 6)),
        )
        for number in range(2000)
    ]
    whole = collect_interactions(events)
    monkeypatch.setattr(inputs, "_CHUNK_EVENTS", 64)
    chunked = collect_interactions(events)
    for name in ("user", "key", "weight", "at", "device"):
        np.testing.assert_array_equal(getattr(whole, name), getattr(chunked, name))
    assert len(whole.user) == len({(e.user_id, e.content_id) for e in events})
