"""The fold from events to state."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.catalog import content_key
from core.errors import CorruptData
from core.interaction import Interaction, InteractionType, Onboarding
from core.profile.codec import decode, encode
from core.profile.state import HISTORY_LIMIT, Fact, UserState, fold

T = 1_750_000_000.0


def event(content: str, kind: InteractionType, at: float = T, **facts: object) -> Interaction:
    return Interaction(f"{content}-{kind}-{at}-{facts}", "ann", content, kind, at, **facts)  # type: ignore[arg-type]


def folded(*events: Interaction | Onboarding) -> UserState:
    return fold(UserState("ann"), enumerate(events, 1))


def entry(state: UserState, content: str) -> np.void:
    return state.history[state.history["key"] == content_key(content)][0]


def same_facts(a: UserState, b: UserState) -> bool:
    return encode(a) == encode(b)


events = st.lists(
    st.builds(
        event,
        st.sampled_from(["heat", "alien", "up"]),
        st.sampled_from(list(InteractionType)),
        st.sampled_from([T, T + 1.5, T + 60, T + 9000]),
        progress=st.sampled_from([None, 0.1, 0.55, 0.95]),
        rating=st.sampled_from([None, 0.5, 3.0, 5.0]),
        rewatch=st.booleans(),
    ),
    max_size=6,
)


@given(events)
def test_the_order_of_arrival_does_not_change_the_facts(arrived: list[Interaction]) -> None:
    def facts(state: UserState) -> list:
        return sorted(state.history.tolist(), key=repr)

    expected = facts(folded(*arrived))
    for order in itertools.islice(itertools.permutations(arrived), 24):
        assert repr(facts(folded(*order))) == repr(expected)


@given(events)
def test_folding_in_one_batch_or_one_by_one_gives_the_same_bytes(arrived: list[Interaction]) -> None:
    state = UserState("ann")
    for seq, one in enumerate(arrived, 1):
        state = fold(state, [(seq, one)])
    assert same_facts(state, folded(*arrived))


@given(events)
def test_decode_inverts_encode(arrived: list[Interaction]) -> None:
    state = folded(Onboarding("o", "ann", T, ("drama",), "25-34", "DE", "de"), *arrived)
    assert same_facts(decode("ann", encode(state)), state)
    assert decode("ann", encode(state)).onboarding == state.onboarding


def test_events_at_or_before_the_states_sequence_change_nothing() -> None:
    state = folded(event("heat", InteractionType.LIKE))
    assert same_facts(fold(state, [(1, event("alien", InteractionType.LIKE))]), state)


def test_a_late_older_progress_does_not_undo_a_completion() -> None:
    state = folded(
        event("heat", InteractionType.WATCH_COMPLETE, T + 100),
        event("heat", InteractionType.WATCH_PROGRESS, T, progress=0.3),
    )
    assert entry(state, "heat")["progress"] == 1.0
    assert entry(state, "heat")["last_at"] == T + 100


def test_the_latest_opinion_stands_even_when_it_arrives_first() -> None:
    state = folded(event("heat", InteractionType.DISLIKE, T + 100), event("heat", InteractionType.LIKE, T))
    assert entry(state, "heat")["stars"] == 1.0


def test_a_click_or_an_impression_does_not_make_a_title_seen_but_a_start_does() -> None:
    state = folded(
        event("heat", InteractionType.SEARCH_CLICK),
        event("up", InteractionType.IMPRESSION),
        event("alien", InteractionType.WATCH_START),
    )
    assert state.seen_keys().tolist() == [content_key("alien")]
    assert entry(state, "heat")["flags"] == Fact.CLICKED
    assert state.counts[list(InteractionType).index(InteractionType.IMPRESSION)] == 1


def test_titles_beyond_the_history_stay_seen() -> None:
    many = [event(f"film-{i}", InteractionType.WATCH_COMPLETE, T + i) for i in range(HISTORY_LIMIT + 40)]
    state = folded(*many)
    assert len(state.history) == HISTORY_LIMIT
    assert set(state.seen_keys().tolist()) == {content_key(f"film-{i}") for i in range(HISTORY_LIMIT + 40)}


def test_a_later_onboarding_replaces_an_earlier_one() -> None:
    later, earlier = Onboarding("b", "ann", T + 1, ("horror",)), Onboarding("a", "ann", T, ("drama",))
    assert folded(later, earlier).onboarding == later


@pytest.mark.parametrize("damage", ["truncate", "flip", "foreign", "extend"])
def test_damaged_bytes_are_recognised(damage: str) -> None:
    blob = encode(folded(event("heat", InteractionType.LIKE)))
    damaged = {
        "truncate": blob[:-1],
        "flip": blob[:-3] + bytes([blob[-3] ^ 1]) + blob[-2:],
        "foreign": b"PK\x03\x04" + blob[4:],
        "extend": blob + b"\0",
    }[damage]
    with pytest.raises(CorruptData):
        decode("ann", damaged)


def test_an_old_state_of_a_full_history_stays_below_ten_kilobytes() -> None:
    many = [event(f"film-{i}", InteractionType.RATING_EXPLICIT, T + i, rating=4.0) for i in range(HISTORY_LIMIT)]
    assert len(encode(folded(*many))) < 10_240
