"""Titles that nobody has met: what is taken out, and what the evaluation says of it."""

import numpy as np
import pytest

from core.catalog import Title
from core.embedding.content_encoder_renewal import RenewalSettings
from core.embedding.content_encoder_training import EncoderSettings
from core.evaluation import cold_items as cold
from core.evaluation.cold_items_table import cold_items_table
from core.evaluation.dataset import Dataset
from core.evaluation.protocol_pages import cold_items_page

TASTES = ("horror", "romance")


@pytest.fixture(scope="module")
def data():
    """Two tastes of forty titles that share nothing but the taste's two genres, eighty viewers of one taste each."""
    rng = np.random.default_rng(1)
    titles = tuple(
        Title(
            f"{taste}-{k}", f"{chr(97 + k % 26)}{taste}{chr(97 + k // 26)}", year=1990 + k % 20,
            genres=(taste if k % 2 else f"{taste} too",), keywords=(f"{taste} {k % 5}",),
        )
        for taste in TASTES for k in range(40)
    )  # fmt: skip
    user = np.repeat(np.arange(80, dtype=np.int32), 12)
    item = np.concatenate([40 * (one % 2) + rng.permutation(40)[:12] for one in range(80)]).astype(np.int32)
    return Dataset(
        name="two tastes", user=user, item=item, stars=np.full(len(user), 5.0, np.float32),
        at=1.6e9 + 60.0 * np.arange(len(user)), positive=np.ones(len(user), bool),
        user_ids=tuple(f"u{one}" for one in range(80)), titles=titles, timed=True, positive_from=4.0,
    )  # fmt: skip


def test_what_is_taken_out_leaves_no_trace_but_the_targets(data):
    trial = cold.hold_out(data, seed=3)
    assert trial.new.sum() == int(0.1 * 80)
    assert not trial.new[trial.data.item].any()
    assert len(trial.data) + int(trial.new[data.item].sum()) == len(data)
    for place, user in enumerate(trial.users.tolist()):
        liked = set(data.item[(data.user == user) & trial.new[data.item]].tolist())
        assert set(trial.targets.row(place).tolist()) == liked


def test_at_most_so_many_users_are_asked(data):
    assert len(cold.hold_out(data, max_users=7).users) == 7


@pytest.fixture(scope="module")
def report(data):
    training = EncoderSettings(steps=40, users=40, negatives=60)
    return cold.cold_items(data, renewal=RenewalSettings(training=training, least_users=5))


def test_popularity_never_finds_a_title_that_nobody_has_met(report):
    row = report["systems"][cold.POPULARITY]
    assert row["among_new"]["ndcg@10"] == row["among_all"]["recall@10"] == 0


def test_encoders_bring_new_titles_to_the_right_taste(report):
    found = report["systems"][cold.CONTENT_ENCODED]["among_new"]
    assert report["encoder"] is not None
    assert found["recall@10"] > 0.95  # of eight new titles, of both tastes
    assert found["ndcg@10"] > 0.6  # a taste's own four first, in any order: .7; all eight in any order: .5


def test_every_system_with_encoders_is_compared_with_itself_without(report):
    for name, base in cold.BASE.items():
        for reading in cold.READINGS:
            row, other = (report["systems"][one][reading]["ndcg@10"] for one in (name, base))
            paired = report["systems"][name][reading]["paired"]["ndcg@10"]
            assert paired["difference"] == pytest.approx(row - other)


def test_the_table_has_a_row_for_every_system(report):
    table = cold_items_table(report)
    assert table.row_count == len(report["systems"]) == 6
    assert len(table.columns) == 1 + 2 * len(cold.READINGS)


def test_the_page_has_a_row_and_a_bar_for_every_system(report):
    page = cold_items_page(report)
    assert page.count("<svg") == 1
    for name in report["systems"]:
        assert page.count(name) >= 2
