"""Behaviour cases 76-79, 81 and 82: engagement, decay, affinity, when to learn, what an act says, blending. (80: see
test_case_93_training.)

Left out: of 79 the preference vector at every fifth event (it is computed from the facts whenever it is needed) and
training at every tenth (the adaptation decision has thresholds instead, tested here); of 81 the scale from 0 to 1 (ours
is signed, with 0 for what says nothing).
"""

import numpy as np
import pytest

from core.adaptation.trigger import Thresholds, adaptation_due
from core.config import AdaptationSettings
from core.flows.personalize_search import Result, blend
from core.interaction import Interaction, InteractionType, signal_strength
from core.profile.preference import decay, engagement, genre_affinity, preference_weights
from core.profile.state import UserState, fold

HOUR_S = 3600.0


def said(kind: InteractionType, **facts: float) -> tuple[float, float]:
    """What one event alone says: its signal, and the weight of its title."""
    event = Interaction("e", "ann", "heat", kind, 1.0, **facts)  # type: ignore[arg-type]
    history = fold(UserState("ann"), [(1, event)]).history
    return signal_strength(event), float(preference_weights(history)[0])


def test_case_76_engagement_of_a_rewatched_five_star_title() -> None:
    assert engagement(0.9, 5.0, rewatched=True) == pytest.approx(0.871, abs=5e-4)
    assert 0.8 < engagement(0.9, 5.0, rewatched=True) <= 1
    assert engagement(0.9, 5.0, dismissed=True) < engagement(0.9, 5.0)
    assert engagement(0.0, 1.0, dismissed=True) == 0
    assert (np.diff(engagement(0.7, np.arange(1.0, 6.0))) > 0).all()


def test_case_77_decay_after_thirty_and_ninety_days() -> None:
    assert decay(0) == 1
    assert decay(30) == pytest.approx(0.95)
    assert decay(90) == pytest.approx(0.857, abs=5e-4)


def test_case_78_genre_moving_average() -> None:
    assert genre_affinity(0.5, 0.8) == pytest.approx(0.53)


def test_case_79_an_adaptation_is_due_after_enough_events_an_hour_and_a_signal() -> None:
    assert Thresholds() == Thresholds(interactions=5, interval_s=HOUR_S, signal=0.7)
    assert adaptation_due(5, 0.8, 9.0, None)
    assert not adaptation_due(4, 4.0, 9.0, None)
    assert not adaptation_due(5, 0.7, 9.0, None)
    assert not adaptation_due(50, 50.0, HOUR_S - 1, 0.0)
    assert adaptation_due(50, 50.0, HOUR_S, 0.0)
    assert AdaptationSettings().min_events == 10, "training on demand, as the original"


def test_case_81_opinions_and_progress_are_told_apart() -> None:
    like, dislike = said(InteractionType.LIKE), said(InteractionType.DISLIKE)
    four, three = (said(InteractionType.RATING_EXPLICIT, rating=stars) for stars in (4.0, 3.0))
    finished, complete = said(InteractionType.WATCH_PROGRESS, progress=0.95), said(InteractionType.WATCH_COMPLETE)
    half, little = (said(InteractionType.WATCH_PROGRESS, progress=share) for share in (0.6, 0.2))
    assert like == (0.9, 1.0)
    assert dislike == (-0.9, -1.0)
    assert four == like, "people rate what they chose to watch"
    assert three == (0.0, 0.0)
    assert finished == complete == (1.0, 1.0)
    assert half == pytest.approx((0.48, 0.48))
    assert little == pytest.approx((0.16, 0.16))


def test_case_82_blending_follows_the_formula_and_does_not_overturn_what_it_should_not() -> None:
    [only] = blend([Result("a", 0.5)], {"a": 0.9}, 0.25)
    assert only.score == pytest.approx(0.6)
    assert (only.relevance, only.personal) == (0.5, 0.9)
    for original in (0.5, 0.8):
        for personal in (0.5, 0.8):
            [one] = blend([Result("a", original)], {"a": personal}, 0.3)
            assert one.score == pytest.approx(original * 0.7 + personal * 0.3)
    ranked = blend([Result("a", 0.5), Result("b", 0.7)], {"a": 0.95, "b": 0.7}, 0.3)
    assert [(one.content_id, round(one.score, 3)) for one in ranked] == [("b", 0.7), ("a", 0.635)]
