"""No protocol lets the future in; every event is either learned from, foretold, or counted as cold."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from core.errors import InvalidInput
from core.evaluation.batches import OnlineCounts, batches, columns_of, liked_items, seen_mask
from core.evaluation.dataset import Dataset
from core.evaluation.peers import fit_counts, fit_matrix, fit_sequences
from core.evaluation.splits import PROTOCOLS, leave_one_out, split, stream, validation

Make = Callable[..., Dataset]


def after_the_cut_shuffled(data: Dataset, cut: float, rng: np.random.Generator) -> Dataset:
    """The same past; users, titles and ratings of the future dealt out anew."""
    later = np.flatnonzero(data.at >= cut)
    deal = np.arange(len(data))
    deal[later] = rng.permutation(later)
    return replace(
        data, user=data.user[deal], item=data.item[deal], stars=data.stars[deal], positive=data.positive[deal]
    )


def test_the_stream_learns_before_the_cut_and_foretells_after_it(random_data: Dataset) -> None:
    at = stream(random_data)
    assert at.cut == np.quantile(random_data.at, 0.8)
    assert (random_data.at[at.fit] < at.cut).all()
    assert (at.cases.now >= at.cut).all()
    assert (random_data.at[at.cases.before] == at.cases.now).all()
    foretold = set(at.cases.before.tolist()) | set(at.cold.before.tolist())
    assert foretold == set(np.flatnonzero(random_data.positive & ~at.fit).tolist())


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_the_target_is_never_among_what_may_be_seen(protocol: str, random_data: Dataset) -> None:
    at = split(random_data, protocol)
    mask = seen_mask(at, at.cases, np.arange(len(random_data.titles)))
    for row in range(len(at.cases)):
        assert not mask[row, at.cases.targets.row(row)].any()


@pytest.mark.parametrize("protocol", ["stream", "global"])
def test_dealing_the_future_anew_changes_nothing_that_is_learned(protocol: str, random_data: Dataset) -> None:
    at = split(random_data, protocol)
    other = split(after_the_cut_shuffled(random_data, at.cut, np.random.default_rng(0)), protocol)
    assert at.catalogue.tolist() == other.catalogue.tolist()
    assert (fit_matrix(at) != fit_matrix(other)).nnz == 0
    assert fit_counts(at).tolist() == fit_counts(other).tolist()
    assert [row.tolist() for row in fit_sequences(at)] == [row.tolist() for row in fit_sequences(other)]


def test_a_case_sees_nothing_of_what_happens_after_it(random_data: Dataset) -> None:
    at = stream(random_data)
    middle = len(at.cases) // 2
    moment = at.cases.now[middle]
    other = stream(after_the_cut_shuffled(random_data, moment, np.random.default_rng(1)))
    first = at.cases.take(np.arange(middle))
    assert other.cases.take(np.arange(middle)).before.tolist() == first.before.tolist()
    for ours, theirs in zip(
        batches(at, first, half_lives=(3.0,)), batches(other, first, half_lives=(3.0,)), strict=True
    ):
        assert [row.tolist() for row in ours.liked] == [row.tolist() for row in theirs.liked]
        assert np.array_equal(ours.popularity[3.0], theirs.popularity[3.0])
    assert np.array_equal(seen_mask(at, first, at.catalogue), seen_mask(other, first, at.catalogue))


def test_the_history_of_a_case_is_the_users_positives_before_it(random_data: Dataset) -> None:
    at = stream(random_data)
    histories = liked_items(at, at.cases)
    for row, event in enumerate(at.cases.before):
        own = (random_data.user == random_data.user[event]) & random_data.positive
        expected = random_data.item[own & (random_data.at < random_data.at[event])]
        assert histories.row(row).tolist() == expected.tolist()


def test_ranked_titles_have_three_positives_before_the_cut_and_the_others_are_cold(random_data: Dataset) -> None:
    at = stream(random_data)
    counts = np.bincount(random_data.item[at.fit & random_data.positive], minlength=len(random_data.titles))
    assert at.catalogue.tolist() == np.flatnonzero(counts >= 3).tolist()
    assert (counts[at.cases.targets.values] >= 3).all()
    assert (counts[at.cold.targets.values] < 3).all()


def test_the_first_events_are_taken_and_cold_ones_of_the_same_time(make: Make) -> None:
    rows = [(user, item, 5.0, float(10 * user + item)) for user in range(8) for item in range(3)]
    rows += [(user, 3 + user % 2 * (user + 1), 5.0, 1000.0 + user) for user in range(8)]
    rows += [(user, user % 3 + 20, 5.0, 2000.0 + user) for user in range(8)]
    rows += [(8 + user, user % 3, 5.0, 900.0 + user) for user in range(8)]
    data = make(rows)
    full, few = stream(data, cut=0.55), stream(data, max_events=3, cut=0.55)
    assert few.cases.before.tolist() == full.cases.before[:3].tolist()
    assert set(few.cold.before.tolist()) == {e for e in full.cold.before.tolist() if e < few.cases.before[-1]}


def test_where_every_title_is_a_candidate_all_targets_are_asked_for_in_order_of_time(random_data: Dataset) -> None:
    at = stream(random_data, cut=0.3)
    cases, cold = at.open_cases()
    assert 0 < len(at.cold) == cold.sum() < len(cases) == len(at.cases) + len(at.cold)
    assert (np.diff(cases.before) > 0).all()
    assert random_data.item[cases.before].tolist() == cases.targets.values.tolist()
    assert np.isin(cases.targets.values, at.catalogue).tolist() == (~cold).tolist()
    assert cases.take(np.flatnonzero(cold)).user.tolist() == at.cold.user.tolist()


@pytest.mark.parametrize("protocol", ["global", "loo"])
def test_where_nobody_goes_on_only_targets_outside_the_catalogue_are(protocol: str, random_data: Dataset) -> None:
    at = split(random_data, protocol)
    cases, cold = at.open_cases()
    assert cases is at.cold
    assert cold.all()


def test_a_title_that_was_rated_before_is_not_foretold_again(make: Make) -> None:
    rows = [(user, item, 5.0, float(100 * user + item)) for user in range(5) for item in range(4)]
    rows += [(0, 0, 5.0, 9000.0), (5, 0, 5.0, 9001.0)]
    at = stream(make(rows))
    assert (at.cases.user.tolist()[-1], at.cases.now[-1]) == (5, 9001.0)
    assert 9000.0 not in at.cases.now


def test_validation_ends_where_the_test_begins(random_data: Dataset) -> None:
    at, earlier = stream(random_data), validation(random_data, "stream")
    assert earlier.cases.now.max() < at.cut
    assert earlier.cases.now.min() >= earlier.cut
    assert at.fit[earlier.fit].all()
    at, earlier = split(random_data, "global"), validation(random_data, "global")
    assert random_data.at[: len(random_data)][earlier.fit].max() < at.cut


def test_global_asks_once_per_user_for_all_that_follows(random_data: Dataset) -> None:
    at = split(random_data, "global")
    assert len(np.unique(at.cases.user)) == len(at.cases)
    for row, user in enumerate(at.cases.user):
        later = (random_data.user == user) & ~at.fit & random_data.positive
        expected = set(random_data.item[later].tolist()) & set(at.catalogue.tolist())
        assert set(at.cases.targets.row(row).tolist()) == expected
        assert at.cases.visible[row] == ((random_data.user == user) & at.fit).sum() > 0


def test_leave_one_out_withholds_the_last_positive_and_what_follows_it(random_data: Dataset) -> None:
    at = leave_one_out(random_data)
    for event in np.concatenate([at.cases.before, at.cold.before]):
        own = random_data.user == random_data.user[event]
        assert event == np.flatnonzero(own & random_data.positive)[-1]
        assert at.fit[own].tolist() == (random_data.at[own] < random_data.at[event]).tolist()
    positives = np.bincount(random_data.user[random_data.positive], minlength=random_data.users)
    assert len(at.cases) + len(at.cold) == (positives >= 3).sum()


def test_leave_one_out_validates_on_the_last_but_one(random_data: Dataset) -> None:
    earlier = validation(random_data, "loo")
    for event in earlier.cases.before:
        own = np.flatnonzero((random_data.user == random_data.user[event]) & random_data.positive)
        assert event == own[-2]


def test_data_without_times_can_only_be_left_one_out(make: Make) -> None:
    rows = [(user, (item + user) % 4, np.nan, float(item)) for user in range(4) for item in range(4)]
    data = make(rows, timed=False)
    for protocol in ("stream", "global"):
        with pytest.raises(InvalidInput, match="needs timestamps"):
            split(data, protocol)
    at = split(data, "loo")
    assert not at.counted.any()
    with pytest.raises(InvalidInput, match="not one of"):
        split(data, "random")


def test_nothing_to_foretell_is_an_error(make: Make) -> None:
    with pytest.raises(InvalidInput, match="nothing to foretell"):
        split(make([(0, 0, 2.0, 1.0), (1, 1, 2.0, 2.0)]), "stream")


def test_online_counts_are_the_decayed_sum_over_everything_before(random_data: Dataset) -> None:
    at = stream(random_data)
    half_life_days = 2.0
    counted = OnlineCounts(at, half_life_days).at(at.cases)
    for row in (0, 7, len(at.cases) - 1):
        expected = np.zeros(len(random_data.titles))
        for event in range(int(at.cases.before[row])):
            if random_data.positive[event]:
                age = at.cases.now[row] - random_data.at[event]
                expected[random_data.item[event]] += 0.5 ** (age / 86_400 / half_life_days)
        assert counted[row] == pytest.approx(expected, rel=1e-5)


def test_histories_decay_from_the_latest_positive_backwards(make: Make) -> None:
    rows = [(user, item, 5.0, 10.0 * user + item) for user in range(6) for item in range(4)]
    rows += [(6, 2, 5.0, 1e5), (6, 1, 5.0, 2e5), (6, 0, 2.0, 3e5), (6, 3, 5.0, 4e5)]
    at = stream(make(rows), cut=0.85)
    last = at.cases.take(np.array([len(at.cases) - 1]))
    (batch,) = batches(at, last)
    column = columns_of(at)
    history = batch.history(decay=0.5)[0]
    assert [history[column[item]] for item in range(4)] == [0.0, 1.0, 0.5, 0.0]
    assert batch.history(decay=0.5, window=1)[0].sum() == 1.0
