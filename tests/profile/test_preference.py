"""From facts to preference."""

import numpy as np
import pytest

from core.interaction import Interaction, InteractionType, signal_strength
from core.profile.preference import DAY_S, preference_vector, preference_weights
from core.profile.session import binged_series, current_session
from core.profile.state import ENTRY, UserState, fold

T = 1_750_000_000.0


def history(*events: tuple[str, InteractionType, dict]) -> np.ndarray:
    made = [
        Interaction(f"e{i}", "ann", content, kind, facts.pop("at", T + i), **facts)
        for i, (content, kind, facts) in enumerate(events)
    ]
    return fold(UserState("ann"), enumerate(made, 1)).history


def weight(kind: InteractionType, **facts: object) -> float:
    return float(preference_weights(history(("heat", kind, facts)))[0])


def test_evidence_is_ordered_complete_rating_start_click_skip() -> None:
    order = [
        weight(InteractionType.WATCH_COMPLETE),
        weight(InteractionType.WATCH_PROGRESS, progress=0.6),
        weight(InteractionType.WATCH_START),
        weight(InteractionType.SEARCH_CLICK),
        weight(InteractionType.SKIP_CONTENT),
        weight(InteractionType.DISLIKE),
    ]
    assert order == sorted(order, reverse=True)
    assert len(set(order)) == len(order)
    assert order[0] == 1
    assert order[-1] == -1


def test_signal_strength_follows_the_same_order() -> None:
    kinds = ["watch_complete", "like", "watch_start", "search_click", "impression", "skip_content", "dislike"]
    values = [signal_strength(Interaction("e", "u", "c", InteractionType(kind), T)) for kind in kinds]
    assert values == sorted(values, reverse=True)


@pytest.mark.parametrize(
    ("stars", "expected"), [(5.0, 1.0), (4.0, 1.0), (3.5, 0.5), (3.0, 0.0), (2.0, -1.0), (0.5, -1.0)]
)
def test_ratings_count_from_three_stars_up_or_down(stars: float, expected: float) -> None:
    assert weight(InteractionType.RATING_EXPLICIT, rating=stars) == pytest.approx(expected)


def test_a_skip_after_half_the_title_is_progress_not_rejection() -> None:
    watched = history(
        ("heat", InteractionType.WATCH_PROGRESS, {"progress": 0.8, "at": T}),
        ("heat", InteractionType.SKIP_CONTENT, {"at": T + 60}),
    )
    assert preference_weights(watched)[0] == pytest.approx(0.64)


def test_the_preference_vector_leans_to_liked_and_away_from_disliked_titles() -> None:
    seen = history(("liked", InteractionType.WATCH_COMPLETE, {}), ("hated", InteractionType.DISLIKE, {}))
    vectors = np.eye(3, dtype=np.float32)[:2]
    vector = preference_vector(seen, vectors, T)
    assert np.linalg.norm(vector) == pytest.approx(1, abs=1e-6)
    assert vector[0] > 0 > vector[1]
    assert vector.dtype == np.float32


def test_older_titles_count_less_in_the_preference_vector() -> None:
    seen = history(
        ("old", InteractionType.WATCH_COMPLETE, {"at": T - 300 * DAY_S}),
        ("new", InteractionType.WATCH_COMPLETE, {"at": T}),
    )
    vector = preference_vector(seen, np.eye(2, dtype=np.float32), T)
    assert vector[1] / vector[0] == pytest.approx(0.95**-10, rel=1e-4)


def test_no_history_gives_a_zero_vector() -> None:
    assert not preference_vector(np.empty(0, ENTRY), np.empty((0, 4), np.float32), T).any()


def test_a_session_ends_after_thirty_quiet_minutes() -> None:
    seen = history(
        ("a", InteractionType.LIKE, {"at": T}),
        ("b", InteractionType.LIKE, {"at": T + 7200}),
        ("c", InteractionType.LIKE, {"at": T + 7900}),
    )
    assert current_session(seen, T + 8000).size == 2
    assert current_session(seen, T + 8000).started_at == T + 7200
    assert current_session(seen, T + 8000 + 1900).size == 0


def test_three_episodes_within_four_hours_are_a_binge() -> None:
    seen = history(*((f"e{i}", InteractionType.WATCH_COMPLETE, {"at": T + 1800 * i}) for i in range(3)))
    assert binged_series(seen, np.array([7, 7, 7]), T + 4000) == 7
    assert binged_series(seen, np.array([7, 7, -1]), T + 4000) == -1
    assert binged_series(seen, np.array([7, 7, 7]), T + 5 * 3600) == -1
