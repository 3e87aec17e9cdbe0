"""A snapshot learns in which circumstances which signal counts, and requests read it from there."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
from adapting import COMEDIES, DRAMAS, TITLES

from core.attention.fusion import circumstances
from core.interaction import Interaction, InteractionType
from core.ranking.examples import Examples
from core.snapshot.build import build
from core.snapshot.fusion_attention import with_attention
from core.snapshot.fusion_weights import LearnedFusion
from core.snapshot.inputs import collect_interactions
from core.snapshot.manifest import MANIFEST
from core.snapshot.parameters import SnapshotParameters
from core.snapshot.snapshot import Snapshot

MONDAY = 1_700_438_400.0
DAYS, VIEWERS = 14, 60
PARAMETERS = SnapshotParameters(fusion_share=0.7, fusion_likes=0, ease_min_positives=1)


def like(user: int, title: str, day: int, hour: float) -> Interaction:
    at = MONDAY + 86_400.0 * day + 3600.0 * hour + user
    return Interaction(f"{user}-{title}", f"u{user}", title, InteractionType.LIKE, at, device="tv")


def test_who_follows_an_order_in_the_morning_and_the_crowd_in_the_evening_is_asked_for_accordingly(
    tmp_path: Path,
) -> None:
    events = []
    for day in range(DAYS):
        for user in range(VIEWERS):
            events.append(like(user, DRAMAS[(7 * user + day) % 40], day, 8 + user / 60))
            events.append(like(user, COMEDIES[day], day, 20 + user / 60))
    folder = build(TITLES, collect_interactions(events), MONDAY + (DAYS + 1) * 86_400.0, tmp_path, PARAMETERS)
    learned = json.loads((folder / MANIFEST).read_text())["parameters"]
    verdict = learned["fusion_learned"]["attention"]["dot_product"]
    assert verdict["kept"]
    assert verdict["gain"] > verdict["error"]
    snapshot = Snapshot.open(folder)
    attention, weights = snapshot.attention["dot_product"], snapshot.fusion[2] if snapshot.fusion else {}

    def crowd(hour: int) -> float:
        """How much the crowd counts against the order of titles."""
        factors = attention.factors(circumstances(2, hour, 0, 0, "tv"))
        by_signal = dict(zip(attention.signals, factors, strict=True))
        popular = sum(by_signal[name] * weights.get(name, 0.0) for name in ("context", "rising"))
        return popular / by_signal["sequence"]

    assert crowd(20) > 1.2 * crowd(8)


def test_signals_without_weight_are_not_attended_to_and_noise_is_refused() -> None:
    rng, m, names = np.random.default_rng(0), 900, ("similar", "graph", "context")
    small = np.zeros(m, np.int16)
    examples = Examples(
        names=names,
        standings=rng.random((m, 20, 3)).astype(np.float32),
        mass=np.ones((m, 20), np.float32),
        rows=np.zeros((m, 20), np.int32),
        user=np.arange(m, dtype=np.int32),
        bucket=np.zeros(m, np.int8),
        positives=small,
        session=small,
        at=np.arange(m, dtype=float),
        hour=np.where(np.arange(m) % 2 == 0, 2, 14).astype(np.int8),
        weekday=small.astype(np.int8),
        device=np.full(m, -1, np.int8),
    )
    night = examples.hour == 2
    ruled = examples.standings.copy()
    ruled[night, 0, 2], ruled[~night, 0, 0] = 1.0, 1.0
    learned = LearnedFusion(({"similar": 4.0, "context": 4.0},) * 4, {"kept": "learned"})
    found = with_attention(learned, replace(examples, standings=ruled), ())
    assert {tuple(record["signals"]) for record in found.attention} == {("similar", "context")}
    assert found.weights == learned.weights
    turned = replace(examples, standings=ruled, hour=np.where(np.arange(m) < 600, examples.hour, 16 - examples.hour))
    refused = with_attention(learned, turned, ())
    assert refused.attention == ()
    assert not any(verdict["kept"] for verdict in refused.report["attention"].values())
