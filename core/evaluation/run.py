"""`sona evaluate`: load, split, run every system on the same cases, and put the numbers side by side."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from core.attention.select import SELECTED
from core.config import RankingSettings
from core.errors import InvalidInput
from core.evaluation import legacy, peers, serving
from core.evaluation.answers import Answers, FitPeer, Progress
from core.evaluation.controls import constant_input, plain_fold_in
from core.evaluation.dataset import load
from core.evaluation.describe import describe, finite
from core.evaluation.hybrid import fit_hybrid
from core.evaluation.new_users import new_user_curve
from core.evaluation.peers import Peer
from core.evaluation.serving import Variant
from core.evaluation.splits import MAX_EVENTS, Split, split, validation

OURS = "sona"
FROZEN = "sona, learning off"

# Configurations of the serving flow, one a line. `sona` is the default; the others change or take away something.
VARIANTS: dict[str, Callable[[Variant], Variant]] = {
    OURS: lambda default: default,
    FROZEN: lambda default: Variant(default.settings, learning=False),
    "sona, as specified": lambda default: default.with_ranking(preset="sona", fusion="rrf", genre_cap=0.4),
    "sona, fusion by ranks": lambda default: default.with_ranking(fusion="rrf"),
    "sona, fusion by scores": lambda default: default.with_ranking(fusion="scores"),
    "sona, no attention": lambda default: default.with_ranking(fusion_attention=""),
    "sona, dot-product attention": lambda default: default.with_ranking(fusion_attention="dot_product"),
    "sona, attention by selection": lambda default: default.with_ranking(fusion_attention=SELECTED),
    "sona, attention by bandit": lambda default: replace(default.with_ranking(fusion_attention=SELECTED), mechanisms=1),
    "sona, history by temporal attention": lambda default: default.with_ranking(history_attention="temporal"),
    "sona, history by selection": lambda default: default.with_ranking(history_attention=SELECTED),
    "sona, no diversity": lambda default: default.with_ranking(mmr_lambda=1.0, genre_cap=1.0),
    "sona, no patterns": lambda default: default.with_ranking(pattern_strength=0.0),
    "sona, no adapters": lambda default: default.with_ranking(base_tier=0.0, slow_tier=0.0, fast_tier=0.0),
    "sona, base tier only": lambda default: default.with_ranking(slow_tier=0.0, fast_tier=0.0),
    "sona, no slow tier": lambda default: default.with_ranking(slow_tier=0.0),
    "sona, no fast tier": lambda default: default.with_ranking(fast_tier=0.0),
    "sona, plain fold-in": lambda default: replace(
        default.with_ranking(base_tier=0.3, slow_tier=0.0, fast_tier=0.0), space=plain_fold_in
    ),
    "sona, a vector per user": lambda default: replace(default, space=constant_input),
}
PEERS: dict[str, FitPeer] = {
    "popularity": lambda at, earlier: peers.Popularity(peers.fit_counts(at)),
    "popularity_decayed": peers.fit_decayed_popularity,
    "itemknn": lambda at, earlier: peers.fit_itemknn(at),
    "ease": lambda at, earlier: peers.fit_ease(at),
    "ease_frozen": lambda at, earlier: peers.fit_ease(at, frozen=True),
    "als": lambda at, earlier: peers.fit_als(at),
    "hybrid": fit_hybrid,
}
STREAM_ONLY = {FROZEN, "ease_frozen"}  # users who do not go on are the same frozen or not
DENSE = {"itemknn", "ease", "ease_frozen", "hybrid"}  # they hold a matrix of catalogue x catalogue


@dataclass(frozen=True, slots=True)
class EvaluationOptions:
    """What to evaluate. `settings` are those of the default configuration, `sona`."""

    data: Path
    protocol: str = "stream"
    positive: float | None = None  # lowest liked rating in the data's own scale; None: four fifths of it
    peers: bool = False
    max_events: int = MAX_EVENTS
    against: str | None = None  # the others are compared with this system; None: the hybrid, or learning off
    ablations: bool = True
    systems: tuple[str, ...] = ()  # run these besides `sona`, instead of what `peers` and `ablations` say
    legacy: bool = False
    settings: RankingSettings = field(default_factory=RankingSettings)


def evaluate(options: EvaluationOptions, progress: Progress = lambda stage, done, total: None) -> dict[str, Any]:
    """Evaluate the serving flow, and with `peers` others, under one protocol; the report is plain JSON data.

    Raises InvalidInput for data that cannot be evaluated this way, an unknown protocol or an unknown system.
    """
    began = time.perf_counter()
    if unknown := [name for name in options.systems if name not in VARIANTS and name not in PEERS]:
        raise InvalidInput(f"no system {unknown[0]!r}; there are {', '.join([*VARIANTS, *PEERS])}")
    progress("reading", 0, 1)
    data = load(options.data, options.positive)
    at = split(data, options.protocol, options.max_events)
    answers, ours, theirs = Answers(at), _variants(options, at), _peers(options, at)
    against = _against(options, [*ours, *theirs])
    with TemporaryDirectory() as folder:
        progress("snapshot", 0, 1)
        snapshot = serving.build_snapshot(at, Path(folder), options.settings)
        for name, variant in ours.items():
            answers.serve(name, variant, snapshot, name == OURS, progress)
        fitted = _ask_peers(answers, theirs, options, progress)
        report = describe(answers, against, FROZEN if FROZEN in ours else None)
        if at.online():
            curve = new_user_curve(at, snapshot, ours[OURS], answers.histories[None], progress)
            report["new_user_curve"] = finite(curve)
        if options.legacy:
            report["legacy"] = legacy.figures(at, snapshot, ours[OURS], fitted, progress)
    report["seconds"]["total"] = round(time.perf_counter() - began, 1)
    return report


def _variants(options: EvaluationOptions, at: Split) -> dict[str, Variant]:
    default = Variant(options.settings)
    asked = [name for name in VARIANTS if name == OURS or _asked(name, options, options.ablations)]
    chosen = {name: VARIANTS[name](default) for name in asked}
    return {
        name: variant
        for name, variant in chosen.items()
        if (at.online() or name not in STREAM_ONLY) and (name == OURS or variant != default)
    }


def _peers(options: EvaluationOptions, at: Split) -> dict[str, FitPeer]:
    chosen = {name: fit for name, fit in PEERS.items() if _asked(name, options, options.peers)}
    return {name: fit for name, fit in chosen.items() if at.online() or name not in STREAM_ONLY}


def _asked(name: str, options: EvaluationOptions, usually: bool) -> bool:
    return name in options.systems if options.systems else usually


def _ask_peers(
    answers: Answers, theirs: dict[str, FitPeer], options: EvaluationOptions, progress: Progress
) -> dict[str, Peer]:
    fitted: dict[str, Peer] = {}
    if not theirs:
        return fitted
    at = answers.split
    earlier = validation(at.data, at.protocol, options.max_events)
    for name, fit in theirs.items():
        if name in DENSE and len(at.catalogue) > peers.MAX_DENSE:
            answers.skipped[name] = f"{len(at.catalogue)} ranked titles: more than the {peers.MAX_DENSE} it can invert"
        elif peer := answers.ask(name, fit, earlier, progress):
            fitted[name] = peer
    return fitted


def _against(options: EvaluationOptions, systems: list[str]) -> str | None:
    if options.against is None:
        return next((name for name in ("hybrid", FROZEN) if name in systems), None)
    if options.against not in systems:
        raise InvalidInput(f"no system {options.against!r} here: {', '.join(systems)}")
    return options.against
