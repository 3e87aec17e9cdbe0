"""What a simulated audience sends: enough, well formed, in order, and the same for the same seed."""

from collections import Counter
from itertools import islice, pairwise

import numpy as np
import pytest

from core.catalog import Title
from core.errors import InvalidInput, NotFound
from core.interaction import Interaction, InteractionType, Onboarding, from_record, to_record
from core.local.simulator import DEMO_VIEWERS, Simulated, simulate

DAY_S = 86_400.0


def all_events(histories: dict[str, list[Interaction]]) -> list[Interaction]:
    return [event for events in histories.values() for event in events]


def test_full_size_audience_has_enough_viewers_and_events(titles: list[Title], now: float) -> None:
    simulated = simulate(titles, np.random.default_rng(5), until=now)
    assert len(simulated.viewers) >= 2_000
    sample = [sum(1 for _ in simulated.events_of(viewer)) for viewer in simulated.viewers[10::20]]
    assert np.mean(sample) * len(simulated.viewers) >= 60_000 * 1.2


def test_same_seed_is_the_same_audience_and_another_seed_is_another(
    audience: Simulated, titles: list[Title], now: float
) -> None:
    again = simulate(titles, np.random.default_rng(5), until=now, viewers=600)
    other = simulate(titles, np.random.default_rng(6), until=now, viewers=600)
    assert again.viewers == audience.viewers
    assert again.onboarding == audience.onboarding
    for viewer in audience.viewers[:40]:
        assert list(again.events_of(viewer)) == list(audience.events_of(viewer))
    assert other.viewers[10:] != audience.viewers[10:]


def test_events_can_be_read_again_and_come_viewer_by_viewer(
    audience: Simulated, histories: dict[str, list[Interaction]]
) -> None:
    first = [event for viewer in audience.viewers[:50] for event in histories[viewer.user_id]]
    assert list(islice(audience.events, len(first))) == first


def test_every_event_is_well_formed_and_unique(
    histories: dict[str, list[Interaction]], by_id: dict[str, Title]
) -> None:
    events = all_events(histories)
    assert len({event.event_id for event in events}) == len(events)
    for event in events:
        assert 0.0 <= (event.progress or 0.0) <= 1.0
        assert event.content_id in by_id
    assert [from_record(to_record(event)) for event in events[::50]] == events[::50]


def test_all_kinds_of_events_and_devices_occur_in_the_period(
    histories: dict[str, list[Interaction]], now: float
) -> None:
    events = all_events(histories)
    assert {event.type for event in events} == set(InteractionType) - {InteractionType.IMPRESSION}
    assert {event.device for event in events} == {"tv", "mobile", "tablet", "desktop"}
    assert all(now - 180 * DAY_S <= event.occurred_at < now for event in events)
    for history in histories.values():
        assert all(first.occurred_at <= second.occurred_at for first, second in pairwise(history))
    ratings = [event.rating for event in events if event.rating is not None]
    assert set(ratings) <= set(np.arange(0.5, 5.5, 0.5))
    assert all((event.rating is not None) == (event.type is InteractionType.RATING_EXPLICIT) for event in events)


def test_about_half_the_viewers_and_all_demo_viewers_say_who_they_are(audience: Simulated) -> None:
    assert all(isinstance(told, Onboarding) for told in audience.onboarding)
    assert 0.4 < len(audience.onboarding) / len(audience.viewers) < 0.6
    assert set(DEMO_VIEWERS) <= {told.user_id for told in audience.onboarding}
    for told in audience.onboarding:
        viewer = audience.viewer(told.user_id)
        assert (told.age_band, told.region, told.language) == (viewer.age_band, viewer.region, viewer.language)
        assert len(told.genres) == 3
    genres = {told.user_id: told.genres for told in audience.onboarding}
    assert "horror" in genres["carlos"]
    assert "documentary" in genres["piet"]
    assert "romance" in genres["amara"]


def test_a_tiny_catalogue_is_watched_once_and_then_only_again(now: float) -> None:
    films = [Title(f"film-{number}", f"Film {number}", year=2000, genres=("drama",)) for number in range(3)]
    simulated = simulate(films, np.random.default_rng(1), until=now, viewers=15, days=60)
    for viewer in simulated.viewers:
        starts = Counter(
            one.content_id for one in simulated.events_of(viewer) if one.type is InteractionType.WATCH_START
        )
        assert max(starts.values(), default=1) == 1


def test_impossible_audiences_are_refused(audience: Simulated, titles: list[Title], now: float) -> None:
    rng = np.random.default_rng(1)
    with pytest.raises(InvalidInput):
        simulate([], rng, until=now)
    with pytest.raises(InvalidInput):
        simulate([titles[0], titles[0]], rng, until=now)
    with pytest.raises(InvalidInput):
        simulate(titles, rng, until=now, days=0)
    with pytest.raises(NotFound):
        audience.viewer("nobody")
