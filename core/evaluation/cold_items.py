"""Cold items: how well titles that nobody has met find their audience, with and without the content encoder.

A tenth of the liked titles is taken out of everything that is learned from, their events out of every history. Each
user who liked one of them, and something else, gets one list; the targets are the taken titles that the user liked.
Ranked are those titles among each other (does the right one reach the right user?), and all titles that the user has
not rated (does a new title get a place at all?). Likes of known titles count as misses in the second reading, so it is
to be read as a comparison.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from math import inf
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from numpy.typing import NDArray

from core.adaptation.evidence import of_series
from core.candidates.content import content_scores
from core.candidates.gather import top
from core.candidates.viewer import view
from core.catalog import content_key
from core.config import RankingSettings
from core.embedding.content_encoder_pair import EncoderPair
from core.embedding.content_encoder_renewal import RenewalSettings, renew_encoders
from core.evaluation.dataset import Dataset
from core.evaluation.metrics import K, Ragged, accuracy, paired_difference
from core.evaluation.serving import restricted
from core.evaluation.splits import timelines
from core.evaluation.summary import as_record, with_errors
from core.flows.recommend import rank
from core.profile.state import UserState, fold
from core.ranking.query import Context, Query
from core.snapshot.build import build
from core.snapshot.inputs import collect_interactions
from core.snapshot.snapshot import Snapshot
from core.snapshot.text import TextVectors

PROTOCOL = "cold-items"
SHARE, MAX_USERS = 0.1, 1_000
METRICS = (f"ndcg@{K}", f"recall@{K}")
POPULARITY, CONTENT, CONTENT_ENCODED = "popularity", "content strategy", "content strategy, content encoder"
USER, OURS, OURS_ENCODED = "user encoder", "sona", "sona, content encoder"
BASE = {CONTENT_ENCODED: CONTENT, USER: CONTENT, OURS_ENCODED: OURS}  # what each is compared with
AMONG_NEW, AMONG_ALL = READINGS = ("among_new", "among_all")
Progress = Callable[[str, int, int], None]


@dataclass(frozen=True, slots=True, eq=False)
class Trial:
    """`data`: the events that are left; new (n,) bool: the titles taken out; users (u,) and the titles each of them
    liked among those."""

    data: Dataset
    new: NDArray[np.bool_]
    users: NDArray[np.int32]
    targets: Ragged

    @property
    def now(self) -> float:
        """Right after the last event, Unix seconds."""
        return float(self.data.at.max()) + 1.0


@dataclass(frozen=True, slots=True, eq=False)
class Case:
    """One user of a trial: the state, the moment, and the snapshot rows (n,) bool that may be recommended."""

    state: UserState
    now: float
    allowed: NDArray[np.bool_]


System = Callable[[Case], NDArray]
"""Snapshot rows of the recommendations, best first, at most K."""


def hold_out(data: Dataset, seed: int = 0, share: float = SHARE, max_users: int = MAX_USERS) -> Trial:
    """Take out a random `share` of the titles that anybody liked; at most `max_users` users, chosen at random."""
    rng = np.random.default_rng(seed)
    known = np.unique(data.item[data.positive])
    new = np.zeros(len(data.titles), bool)
    new[rng.permutation(known)[: int(share * len(known))]] = True
    gone = new[data.item]
    left = data.reordered(np.flatnonzero(~gone))
    wanted = np.unique(data.user[gone & data.positive])
    users = np.intersect1d(wanted, np.unique(left.user[left.positive]))
    users = np.sort(rng.permutation(users)[:max_users])
    liked = [np.unique(data.item[gone & data.positive & (data.user == user)]) for user in users]
    start = np.concatenate([[0], np.cumsum([len(one) for one in liked])])
    return Trial(left, new, users, Ragged(np.concatenate(liked) if liked else np.empty(0, np.int32), start))


def cold_items(
    data: Dataset,
    settings: RankingSettings | None = None,
    renewal: RenewalSettings | None = None,
    text: TextVectors | None = None,
    seed: int = 0,
    progress: Progress = lambda stage, done, total: None,
) -> dict[str, Any]:
    """The report as plain JSON: per system NDCG@10 and recall@10 `among_new` and `among_all` titles, with standard
    errors clustered by user, and paired differences to the same system without the encoders.

    text: vectors for the encoders' text part; without, structured features alone.
    """
    trial = hold_out(data, seed)
    titles = trial.data.titles
    interactions = collect_interactions(trial.data.event(index) for index in range(len(trial.data)))
    with TemporaryDirectory() as folder:
        progress("content encoder", 0, 1)
        renewed = renew_encoders(titles, of_series(interactions, titles), text, Path(folder) / "models", renewal)
        pair = EncoderPair.open(renewed.content, renewed.user) if renewed else None
        placed = pair.place(titles, text) if pair else None
        progress("snapshots", 0, 1)
        without, encoded = (
            Snapshot.open(build(titles, interactions, trial.now, Path(folder) / name, placed=given))
            for name, given in (("without", None), ("encoded", placed))
        )
        systems = _without_encoders(without, settings or RankingSettings())
        if pair:
            systems |= _with_encoders(encoded, pair, settings or RankingSettings())
        lists = _lists(trial, without, systems, progress)
    return {
        "data": data.name,
        "protocol": PROTOCOL,
        "titles": int(trial.new.sum()),
        "users": len(trial.users),
        "text": text.version if text else None,
        "encoder": renewed.judgement.facts() if renewed else None,
        "systems": {name: _row(name, lists, trial) for name in systems},
    }


def _without_encoders(snapshot: Snapshot, settings: RankingSettings) -> dict[str, System]:
    return {
        POPULARITY: lambda case: _best(snapshot.popularity_all, case),
        CONTENT: lambda case: _best(_content(snapshot, case, settings), case),
        OURS: lambda case: _served(snapshot, case, settings),
    }


def _with_encoders(snapshot: Snapshot, pair: EncoderPair, settings: RankingSettings) -> dict[str, System]:
    assert snapshot.encoded is not None
    vectors = snapshot.encoded.astype(np.float32)

    def by_user_vector(case: Case) -> NDArray:
        viewer = view(snapshot, case.state, Context(), case.now, _nothing(case), case.allowed, settings.history_decay)
        liked = viewer.taste > 0
        history, strength = vectors[viewer.rows[liked]][None], viewer.taste[liked][None]
        return _best(2.0 + vectors @ pair.user.embed(history, strength)[0], case)

    return {
        CONTENT_ENCODED: lambda case: _best(_content(snapshot, case, settings), case),
        USER: by_user_vector,
        OURS_ENCODED: lambda case: _served(snapshot, case, settings),
    }


def _nothing(case: Case) -> NDArray:
    """Online popularity counts of a catalogue that has just been published."""
    return np.zeros(len(case.allowed), np.float32)


def _content(snapshot: Snapshot, case: Case, settings: RankingSettings) -> NDArray:
    """What the content strategy says of every title."""
    viewer = view(snapshot, case.state, Context(), case.now, _nothing(case), case.allowed, settings.history_decay)
    return content_scores(viewer)


def _best(scores: NDArray, case: Case) -> NDArray:
    """The best rows with a positive score. Ties go to the lower row, which is a hash of the id: to nobody in favour."""
    return top(scores, case.allowed, K).rows


def _served(snapshot: Snapshot, case: Case, settings: RankingSettings) -> NDArray:
    """What a request would be answered, its deadline lifted."""
    query = Query(user_id=case.state.user_id, limit=K)
    served = restricted(snapshot, np.flatnonzero(case.allowed))
    patient = replace(settings, strategy_deadline_ms=inf)
    ranked = rank(served, case.state, _nothing(case), query, patient, case.now)
    return np.array([item.row for item in ranked.items], np.int64)


def _lists(
    trial: Trial, snapshot: Snapshot, systems: dict[str, System], progress: Progress
) -> dict[str, dict[str, NDArray]]:
    """System -> reading -> (u, K) item codes, -1 where a list ends. All snapshots have the same rows."""
    data, (timeline, _) = trial.data, timelines(trial.data)
    rows = snapshot.rows(np.array([content_key(title.content_id) for title in data.titles], np.uint64))
    codes = np.empty(len(rows), np.int32)
    codes[rows] = np.arange(len(rows))
    lists = {name: {reading: np.full((len(trial.users), K), -1, np.int32) for reading in READINGS} for name in systems}
    for place, user in enumerate(trial.users.tolist()):
        events = timeline.row(user)
        state = fold(UserState(data.user_ids[user]), enumerate(map(data.event, events.tolist()), 1))
        for reading in READINGS:
            allowed = trial.new[codes] if reading == AMONG_NEW else np.ones(len(codes), bool)
            allowed[rows[data.item[events]]] = False
            for name, system in systems.items():
                found = system(Case(state, trial.now, allowed))
                lists[name][reading][place, : len(found)] = codes[found]
        progress("cold items", place + 1, len(trial.users))
    return lists


def _row(name: str, lists: dict[str, dict[str, NDArray]], trial: Trial) -> dict[str, Any]:
    """The figures of one system in both readings."""
    row: dict[str, Any] = {}
    for reading in READINGS:
        values = _metrics(lists[name][reading], trial)
        row[reading] = with_errors(values, trial.users)
        if base := BASE.get(name):
            other = _metrics(lists[base][reading], trial)
            row[reading]["paired"] = {
                metric: as_record(paired_difference(values[metric], other[metric], trial.users)) for metric in METRICS
            }
    return row


def _metrics(lists: NDArray, trial: Trial) -> dict[str, NDArray]:
    found = accuracy(lists, trial.targets)
    return {metric: found[metric] for metric in METRICS}
