"""A snapshot learns how much each signal counts, says what it found, and keeps the fixed weights where it is unsure."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from adapting import COMEDIES, DRAMAS, TITLES

from core.interaction import Interaction, InteractionType
from core.ranking.examples import TARGET, Examples
from core.ranking.weights import COSTLY, FIXED, LEARNED, LIVE
from core.snapshot.build import build
from core.snapshot.fusion_weights import MIN_EXAMPLES, learn_fusion
from core.snapshot.inputs import Interactions, collect_interactions
from core.snapshot.manifest import MANIFEST
from core.snapshot.parameters import SnapshotParameters
from core.snapshot.snapshot import Snapshot

START = 1_700_000_000.0


def examples(m: int, leading: str, turn_at: float = 1.0) -> Examples:
    """Viewers choose what `leading` puts first, and after `turn_at` of the time the last of what it knows."""
    rng = np.random.default_rng(2)
    standings = rng.random((m, 30, len(LEARNED))).astype(np.float32)
    lead = standings[:, :, LEARNED.index(leading)]
    late = np.arange(m) >= turn_at * m
    best = np.where(late, lead.argmin(axis=1), lead.argmax(axis=1))
    rows = np.arange(m)
    standings[rows, best], standings[rows, TARGET] = standings[rows, TARGET], standings[rows, best].copy()
    small = np.zeros(m, np.int16)
    return Examples(
        names=LEARNED,
        standings=standings,
        mass=np.ones((m, 30), np.float32),
        rows=np.zeros((m, 30), np.int32),
        user=np.arange(m, dtype=np.int32),
        bucket=np.full(m, 3, np.int8),
        positives=small,
        session=small,
        at=np.arange(m, dtype=float),
        hour=small.astype(np.int8),
        weekday=small.astype(np.int8),
        device=small.astype(np.int8),
    )


def test_the_signal_that_foretells_choices_gets_the_weight() -> None:
    learned = learn_fusion(examples(900, "graph"))
    assert learned.weights is not None
    weights = learned.weights[3]
    assert max(weights, key=weights.__getitem__) == "graph"
    assert weights["graph"] > 3 * FIXED[3]["graph"]
    assert learned.report["kept"] == "learned"
    assert learned.report["gain"] > 0.05


@pytest.mark.parametrize("costly", COSTLY)
def test_a_costly_signal_is_asked_only_where_the_others_do_not_know_as_much(costly: str) -> None:
    needed, spared = learn_fusion(examples(900, costly)), learn_fusion(examples(900, "graph"))
    assert needed.asks(costly)
    assert not spared.asks(costly)
    assert needed.report[costly]["gain"] > 0.05 > spared.report[costly]["gain"]


def test_what_people_went_on_to_since_gets_a_weight_only_where_it_has_foretold_something() -> None:
    needed, silent = examples(900, LIVE), examples(900, "graph")
    silent.standings[:, :, silent.names.index(LIVE)] = 0.0
    assert learn_fusion(needed).asks(LIVE)
    assert not learn_fusion(silent, in_time=False).asks(LIVE)


def test_too_few_examples_keep_the_fixed_weights_and_say_so() -> None:
    learned = learn_fusion(examples(MIN_EXAMPLES - 1, "graph"))
    assert learned.weights is None
    assert learned.report == {
        "examples": MIN_EXAMPLES - 1,
        "kept": "fixed",
        "reason": f"fewer than {MIN_EXAMPLES} examples",
    }


def test_weights_that_foretell_later_choices_worse_are_not_kept() -> None:
    learned = learn_fusion(examples(900, "similar", turn_at=0.6))
    assert learned.weights is None
    assert learned.report["kept"] == "fixed"
    assert learned.report["gain"] < 0


def test_without_times_other_viewers_judge() -> None:
    """What holds for all holds for the others, whatever came first."""
    shuffled = examples(900, "graph").take(np.random.default_rng(0).permutation(900))
    assert learn_fusion(replace(shuffled, at=np.zeros(900)), in_time=False).report["kept"] == "learned"


@pytest.fixture(scope="module")
def busy() -> Interactions:
    """Eighty viewers who each follow one order of the titles of their taste: what comes next is what came after."""
    events = []
    for user in range(80):
        titles = DRAMAS if user % 2 else COMEDIES
        for step in range(12):
            at = START + 86_400.0 * step + 60.0 * user
            title = titles[(user + step) % 40]
            events.append(Interaction(f"{user}-{step}", f"u{user}", title, InteractionType.LIKE, at))
    return collect_interactions(events)


PARAMETERS = SnapshotParameters(fusion_share=0.6, fusion_likes=0, ease_min_positives=1, kindred_viewers=100)


def test_a_build_writes_the_weights_that_it_learned_and_a_snapshot_reads_them(
    busy: Interactions, tmp_path: Path
) -> None:
    folder = build(TITLES, busy, START + 13 * 86_400.0, tmp_path, PARAMETERS)
    learned = json.loads((folder / MANIFEST).read_text())["parameters"]
    assert learned["fusion_learned"]["kept"] == "learned"
    fusion = Snapshot.open(folder).fusion
    assert fusion is not None
    assert len(fusion) == len(FIXED)
    sequential = sum(fusion[2].get(name, 0.0) for name in ("following", "onward", "sequence"))
    assert sequential > sum(FIXED[2].get(name, 0.0) for name in ("following", "onward", "sequence"))
    asked = any("kindred" in weights for weights in fusion)
    assert (Snapshot.open(folder).kindred is not None) == asked
    assert not list(tmp_path.glob(".*"))  # the rehearsal leaves nothing behind


def test_the_same_interactions_teach_the_same_weights(busy: Interactions, tmp_path: Path) -> None:
    first, second = (build(TITLES, busy, START + 13 * 86_400.0, tmp_path / name, PARAMETERS) for name in "ab")
    assert (first / MANIFEST).read_bytes() == (second / MANIFEST).read_bytes()


def test_a_network_is_trained_for_the_rehearsal_and_served_only_where_it_is_asked(
    busy: Interactions, tmp_path: Path
) -> None:
    trained = replace(PARAMETERS, next_title_positives=300, next_title_passes=3, next_title_dims=16)
    told: list[float] = []
    folder = build(TITLES, busy, START + 13 * 86_400.0, tmp_path, trained, lambda part, done: told.append(done))
    assert told == sorted(told)
    parameters = json.loads((folder / MANIFEST).read_text())["parameters"]
    assert "next_title" in parameters["fusion_learned"]
    asked = any("next_title" in weights for weights in parameters["fusion"])
    assert (Snapshot.open(folder).next_title is not None) == asked


def test_nobodys_history_is_kept_unless_that_was_asked_for(busy: Interactions, tmp_path: Path) -> None:
    folder = build(TITLES, busy, START + 13 * 86_400.0, tmp_path, replace(PARAMETERS, kindred_viewers=0))
    opened = Snapshot.open(folder)
    assert opened.kindred is None
    assert opened.next_title is None  # and too few likes train no network
    assert opened.fusion is not None
    assert not any(name in weights for weights in opened.fusion for name in COSTLY)


def test_a_small_audience_is_served_with_the_fixed_weights(busy: Interactions, tmp_path: Path) -> None:
    folder = build(TITLES, busy, START + 13 * 86_400.0, tmp_path)
    learned = json.loads((folder / MANIFEST).read_text())["parameters"]
    assert learned["fusion_learned"]["kept"] == "fixed"
    assert Snapshot.open(folder).fusion is None
