"""The curve of new users: the same users, targets and candidates at every step."""

from pathlib import Path

import numpy as np
import pytest

from core.evaluation import serving
from core.evaluation.new_users import STEPS, new_user_curve, new_user_table, newcomers
from core.evaluation.serving import Variant
from core.evaluation.splits import Split
from core.snapshot.snapshot import Snapshot


@pytest.fixture(scope="module")
def snapshot(two_tastes_split: Split, tmp_path_factory: pytest.TempPathFactory) -> Snapshot:
    root: Path = tmp_path_factory.mktemp("curve")
    return serving.build_snapshot(two_tastes_split, root)


def test_new_users_have_done_nothing_before_the_cut_and_are_asked_about_what_comes_later(
    two_tastes_split: Split,
) -> None:
    split, data = two_tastes_split, two_tastes_split.data
    cases = newcomers(split)
    assert len(cases) > 20
    assert np.all(np.diff(cases.before) > 0)
    for case, user in enumerate(cases.user):
        events = split.timeline.row(user)
        assert not split.fit[events].any()
        assert cases.before[case] == events[STEPS]
        targets = set(cases.targets.row(case).tolist())
        later = events[STEPS:]
        assert targets <= set(data.item[later[data.positive[later]]].tolist()) & set(split.catalogue.tolist())
        assert not targets & set(data.item[events[:STEPS]].tolist())


def test_who_is_known_better_is_served_better(two_tastes_split: Split, snapshot: Snapshot) -> None:
    """Popularity can only guess which half of the titles a viewer likes; the first likes tell."""
    curve = new_user_curve(two_tastes_split, snapshot, Variant())
    ndcg = [row["ndcg@10"] for row in curve["steps"]]
    assert curve["users"] == len(newcomers(two_tastes_split))
    assert ndcg[0] == pytest.approx(curve["popularity"]["ndcg@10"], abs=0.05)
    assert ndcg[STEPS] > 1.5 * ndcg[0]
    assert curve["steps"][STEPS]["lead"]["ndcg@10"]["low"] > 0
    assert curve["steps"][1]["gain"]["ndcg@10"]["difference"] == pytest.approx(ndcg[1] - ndcg[0])
    assert new_user_table(curve).row_count == STEPS + 2
