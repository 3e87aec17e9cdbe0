"""An event teaches the fast tier once, what it says anew, at the query that a request right before it had."""

from dataclasses import replace

import numpy as np
import pytest
from adapting import COMEDIES, DRAMAS, NOW, likes, snapshot

from core.adaptation.fast_tier import FastTier
from core.adaptation.lora import delta
from core.adaptation.query import query_vector, recency_weights
from core.interaction import Interaction, InteractionType, Onboarding
from core.profile.lesson import learned, passed_over
from core.profile.state import UserState, fold
from core.snapshot.snapshot import Snapshot


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Snapshot:
    return snapshot(tmp_path_factory.mktemp("world"))


def lived(world: Snapshot, events: list[Interaction], state: UserState | None = None) -> UserState:
    state = state or UserState("ann")
    for event in events:
        seq = state.seq + 1
        state = replace(fold(state, [(seq, event)]), fast=learned(world, state, seq, event))
    return state


def event(content_id: str, kind: InteractionType, **facts: float) -> Interaction:
    return Interaction("e", "ann", content_id, kind, NOW, **facts)  # type: ignore[arg-type]


def lift(world: Snapshot, fast: FastTier | None, liked: tuple[str, ...]) -> float:
    """By how much the tier prefers unseen dramas to comedies after the titles `liked`."""
    assert world.space is not None
    assert fast is not None
    rows = np.array([world.row(name) for name in liked])
    q = query_vector(world.space, rows, recency_weights(len(rows)))
    scores = world.space.targets @ delta(fast.lora(world.space), q)
    means = [scores[[world.row(name) for name in names[30:]]].mean() for names in (DRAMAS, COMEDIES)]
    return float(means[0] - means[1])


def test_a_viewer_of_dramas_soon_has_a_tier_that_prefers_dramas(world: Snapshot) -> None:
    state = lived(world, likes("ann", DRAMAS[:20]))
    assert state.fast is not None
    assert state.fast.updates == 19, "the first like had nothing before it to learn from"
    assert lift(world, state.fast, DRAMAS[10:20]) > 0.02


def test_dismissals_push_the_other_way(world: Snapshot) -> None:
    state = lived(world, likes("ann", DRAMAS[:4]))
    disliked = [event(name, InteractionType.DISLIKE) for name in DRAMAS[4:16]]
    after = lived(world, disliked, state)
    assert lift(world, after.fast, DRAMAS[:4]) < lift(world, state.fast, DRAMAS[:4]) - 0.02


def test_many_reports_of_one_viewing_teach_what_one_report_teaches(world: Snapshot) -> None:
    state = lived(world, likes("ann", DRAMAS[:6]))
    reports = [event(DRAMAS[9], InteractionType.WATCH_PROGRESS, progress=share) for share in (0.2, 0.4, 0.6, 0.8)]
    whole = event(DRAMAS[9], InteractionType.WATCH_COMPLETE)
    many, one = lived(world, [*reports, whole], state), lived(world, [whole], state)
    assert many.fast is not None
    assert one.fast is not None
    steps = [np.linalg.norm(end.fast.B - state.fast.B) for end in (many, one)]  # type: ignore[union-attr]
    assert steps[0] == pytest.approx(steps[1], rel=0.35)


@pytest.mark.parametrize(
    "silent",
    [
        event(DRAMAS[3], InteractionType.WATCH_COMPLETE),
        event(DRAMAS[3], InteractionType.WATCH_PROGRESS, progress=0.5),
        event(DRAMAS[20], InteractionType.IMPRESSION),
        event(DRAMAS[20], InteractionType.RATING_EXPLICIT, rating=3.0),
        event("nobody-knows-it", InteractionType.LIKE),
        Onboarding("o", "ann", NOW, ("drama",)),
    ],
    ids=["known", "less than known", "impression", "neutral", "unknown", "onboarding"],
)
def test_an_event_that_says_nothing_new_leaves_the_tier_alone(world: Snapshot, silent: Interaction) -> None:
    state = lived(world, likes("ann", DRAMAS[:6]))
    assert learned(world, state, state.seq + 1, silent) is state.fast


def test_without_a_space_the_tier_stays_as_it_is(world: Snapshot) -> None:
    state = lived(world, likes("ann", DRAMAS[:6]))
    bare = replace(world, space=None)
    assert learned(bare, state, 7, event(DRAMAS[20], InteractionType.LIKE)) is state.fast


def test_the_same_log_teaches_the_same_and_another_user_other_negatives(world: Snapshot) -> None:
    events = likes("ann", DRAMAS[:12])
    first, again = lived(world, events), lived(world, events)
    assert first.fast is not None
    assert again.fast is not None
    assert first.fast.B.tobytes() == again.fast.B.tobytes()
    other = lived(world, events, UserState("bob"))
    assert other.fast is not None
    assert other.fast.B.tobytes() != first.fast.B.tobytes()


def test_passed_over_titles_are_never_the_title_itself_or_a_recent_like(world: Snapshot) -> None:
    assert world.space is not None
    known = np.arange(40)
    drawn = [passed_over(world, world.space, "ann", seq, known) for seq in range(200)]
    assert not np.isin(np.concatenate(drawn), known).any()
    everything = np.unique(np.concatenate(drawn))
    assert len(everything) == len(world) - 40, "and all others come up"
    assert max(len(rows) for rows in drawn) <= 20


def test_a_title_counted_twice_by_a_late_event_is_not_its_own_query(world: Snapshot) -> None:
    """Only the title itself is liked: nothing else could foretell it."""
    state = lived(world, [event(DRAMAS[0], InteractionType.WATCH_START)])
    assert learned(world, state, 2, event(DRAMAS[0], InteractionType.WATCH_COMPLETE)) is None
