"""What a crowd does: skewed popularity, sequels in order, binges, seasons, and something to be learned from."""

from collections import Counter
from collections.abc import Iterable
from itertools import pairwise

import numpy as np

from core.catalog import Availability, Title
from core.interaction import Interaction, InteractionType
from core.local.simulator import Simulated, simulate

DAY_S = 86_400.0


def positives(events: Iterable[Interaction]) -> list[str]:
    good = (event for event in events if event.type in (InteractionType.WATCH_COMPLETE, InteractionType.LIKE))
    return list(dict.fromkeys(event.content_id for event in good))


def test_popularity_is_skewed_but_the_long_tail_lives(viewings: dict[str, list[str]], titles: list[Title]) -> None:
    counts = Counter(name for names in viewings.values() for name in names)
    sorted_counts = np.sort([counts[title.content_id] for title in titles])
    n = len(sorted_counts)
    gini = 2 * np.sum(np.arange(1, n + 1) * sorted_counts) / (n * sorted_counts.sum()) - (n + 1) / n
    assert 0.45 < gini < 0.75
    assert (sorted_counts > 0).mean() > 0.85


def test_activity_is_uneven_and_nobody_is_a_machine(viewings: dict[str, list[str]]) -> None:
    counts = np.array([len(names) for names in viewings.values()])
    assert np.median(counts) >= 8
    assert counts.mean() > 1.2 * np.median(counts)
    assert counts.max() < 200


def test_sequels_are_mostly_watched_after_what_they_continue(
    audience: Simulated, viewings: dict[str, list[str]], titles: list[Title]
) -> None:
    in_order = reversed_order = 0
    for names in viewings.values():
        place = {name: number for number, name in enumerate(names)}
        for name in place:
            before = audience.screen.predecessor[audience.screen.rows[name]]
            if before >= 0 and titles[before].content_id in place:
                in_order += place[titles[before].content_id] < place[name]
                reversed_order += place[titles[before].content_id] > place[name]
    assert in_order > 4 * reversed_order


def test_episodes_are_mostly_watched_by_those_who_know_the_series(
    viewings: dict[str, list[str]], by_id: dict[str, Title]
) -> None:
    known = alone = 0
    for names in viewings.values():
        for number, name in enumerate(names):
            if by_id[name].type == "episode":
                known += by_id[name].series_id in names[:number]
                alone += by_id[name].series_id not in names[:number]
    assert known > 5 * alone


def test_series_are_binged_and_progress_only_grows(
    histories: dict[str, list[Interaction]], by_id: dict[str, Title]
) -> None:
    binges = 0
    for events in histories.values():
        progress: dict[str, list[Interaction]] = {}
        for event in events:
            if by_id[event.content_id].type == "series" and event.progress is not None and not event.rewatch:
                progress.setdefault(event.content_id, []).append(event)
        for steps in progress.values():
            assert all(first.progress < second.progress for first, second in pairwise(steps))
            binges += any(
                third.occurred_at - first.occurred_at < 4 * 3600 for first, third in zip(steps, steps[2:], strict=False)
            )
    assert binges > 300


def test_evenings_and_weekends_are_busier(audience: Simulated, histories: dict[str, list[Interaction]]) -> None:
    british = [viewer.user_id for viewer in audience.viewers if viewer.region == "GB"]  # their clock is UTC here
    times = np.array([one.occurred_at for name in british for one in histories[name] if one.progress])
    hours = (times % DAY_S) / 3600.0
    weekday = (times // DAY_S + 3) % 7  # 1970-01-01 was a Thursday
    assert ((hours >= 18) & (hours < 24)).mean() > 2.0 * ((hours >= 6) & (hours < 12)).mean()
    assert (weekday >= 4).mean() > 0.5, "Friday to Sunday"


def test_horror_has_its_season_and_its_hour(audience: Simulated) -> None:
    rhythm = audience.rhythm
    halloween = round((1_793_404_800.0 - rhythm.period.start) / DAY_S)  # 31 October 2026
    horror = audience.screen.genres["horror"]
    assert np.median(rhythm.by_day[halloween, horror]) > 1.5 * np.median(rhythm.by_day[halloween - 60, horror])
    assert np.median(rhythm.by_slot[3, horror]) > 1.5 * np.median(rhythm.by_slot[0, horror])


def test_new_arrivals_are_watched_more_than_before_and_later(
    audience: Simulated, titles: list[Title], now: float
) -> None:
    start = audience.rhythm.period.start
    new = [
        (row, round((title.availability[0].added_at - start) / DAY_S))
        for row, title in enumerate(titles)
        if len(title.availability) == 1 and start + 20 * DAY_S < title.availability[0].added_at < now - 60 * DAY_S
    ]
    assert new
    by_day = audience.rhythm.by_day
    assert np.mean([by_day[day + 2, row] / by_day[day + 50, row] for row, day in new]) > 1.5
    assert np.mean([by_day[day + 2, row] / by_day[day - 5, row] for row, day in new]) > 5.0


def test_a_title_that_has_not_arrived_is_rarely_watched(now: float) -> None:
    soon = (Availability("Kinova", "US", now + DAY_S),)
    films = [
        Title(f"film-{number}", "Film", year=2000, availability=soon if number < 30 else ()) for number in range(60)
    ]
    simulated = simulate(films, np.random.default_rng(1), until=now, viewers=80, days=40)
    counts = Counter(int(one.content_id.removeprefix("film-")) < 30 for one in simulated.events)
    assert counts[False] > 2.5 * counts[True]


def test_what_others_watched_predicts_held_out_positives_better_than_popularity(
    histories: dict[str, list[Interaction]], titles: list[Title]
) -> None:
    rows = {title.content_id: row for row, title in enumerate(titles)}
    liked = [[rows[name] for name in positives(events)] for events in histories.values()]
    liked = [names for names in liked if len(names) >= 6]
    matrix = np.zeros((len(liked), len(titles)), np.float32)
    for user, names in enumerate(liked):
        matrix[user, names[:-2]] = 1.0
    popularity = matrix.sum(axis=0)
    together = matrix.T @ matrix
    np.fill_diagonal(together, 0.0)
    likeness = together / np.sqrt(np.outer(popularity + 5.0, popularity + 5.0))

    def recall(scores: np.ndarray) -> float:
        best = np.argsort(-np.where(matrix > 0, -np.inf, scores), axis=1)[:, :10]
        return float(np.mean([len({*best[user]} & {*names[-2:]}) / 2 for user, names in enumerate(liked)]))

    by_popularity, by_likeness = recall(np.broadcast_to(popularity, matrix.shape)), recall(matrix @ likeness)
    assert by_likeness > 1.6 * by_popularity
    assert by_likeness > 0.15
