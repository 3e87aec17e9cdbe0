"""A simulated viewer can be asked: react to a recommendation."""

import numpy as np

from core.catalog import Title
from core.interaction import Interaction, InteractionType
from core.local.simulator import Simulated, Viewer, taste_of


def reactions_to(viewer: Viewer, titles: list[Title], times: int, now: float) -> list[list[Interaction]]:
    rng = np.random.default_rng(3)
    return [viewer.react(title, rng, now + 1000.0 * turn) for turn in range(times) for title in titles]


def test_a_viewer_watches_recommended_favourites_and_waves_away_the_rest(
    audience: Simulated, titles: list[Title], now: float
) -> None:
    carlos = audience.viewer("carlos")
    ranked = sorted(titles, key=lambda title: taste_of(carlos, title))
    loved, hated = reactions_to(carlos, ranked[-10:], 20, now), reactions_to(carlos, ranked[:10], 20, now)

    def share(answers: list[list[Interaction]], kind: InteractionType) -> float:
        return float(np.mean([any(event.type is kind for event in events) for events in answers]))

    assert share(loved, InteractionType.WATCH_START) > 0.8
    assert share(hated, InteractionType.WATCH_START) < 0.1
    assert share(loved, InteractionType.WATCH_COMPLETE) > 0.4
    assert share(hated, InteractionType.SKIP_CONTENT) > 0.2
    assert share(loved, InteractionType.SKIP_CONTENT) < 0.05


def test_a_reaction_is_deterministic_and_begins_now(audience: Simulated, by_id: dict[str, Title], now: float) -> None:
    leo, film = audience.viewer("leo"), by_id["the-dark-knight-2008"]
    answers = [leo.react(film, np.random.default_rng(1), now) for _ in range(2)]
    assert answers[0] == answers[1]
    assert answers[0][0].occurred_at == now
    assert {event.user_id for event in answers[0]} == {"leo"}
    assert answers[0][-1].occurred_at <= now + 60 * (film.runtime_minutes or 0) + 60


def test_a_series_is_not_completed_in_one_evening(audience: Simulated, by_id: dict[str, Title], now: float) -> None:
    answers = reactions_to(audience.viewer("grace"), [by_id["friends-1994"]], 50, now)
    kinds = {event.type for events in answers for event in events}
    assert InteractionType.WATCH_PROGRESS in kinds
    assert InteractionType.WATCH_COMPLETE not in kinds


def test_a_drifted_viewer_reacts_by_the_new_taste(audience: Simulated, titles: list[Title], now: float) -> None:
    viewer = next(one for one in audience.viewers if one.drift is not None)
    assert viewer.drift is not None
    differences = [taste_of(viewer, title, now) - taste_of(viewer, title, viewer.drift.at - 1) for title in titles]
    assert np.std(differences) > 0.5
    assert taste_of(viewer, titles[0], viewer.drift.at - 1) == taste_of(viewer, titles[0])
