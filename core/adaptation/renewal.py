"""Making the next base generation from everybody's interactions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from core.adaptation.base import BaseReport, BaseSettings, sampled, train_base_tier
from core.adaptation.evidence import by_user
from core.adaptation.examples import Evidence, met_queries
from core.adaptation.factors import energy_seen, input_directions, title_factors, turn
from core.adaptation.generation import Generation
from core.adaptation.lora import Lora
from core.adaptation.space import make_transfer
from core.numeric.vectors import Floats
from core.snapshot.collaborative import dense_titles, ease_weights
from core.snapshot.inputs import POSITIVE, Interactions
from core.snapshot.parameters import SnapshotParameters

REMEMBERED = 3  # older generations from which adapters are carried over; others are re-fitted from the log


@dataclass(frozen=True, slots=True)
class GenerationSettings:
    """least_explained: a generation whose title factors, turned, explain less of the new ones has no way here."""

    dim: int = 64
    slow_rank: int = 8
    fast_rank: int = 2
    # A factors stay as long as they see this share of what the best would: users' B factors then stay as they are.
    enough_energy: float = 0.95
    # With 5 % more data .94-.96 of the factors are a mere rotation of the old ones, with twice the data .48.
    least_explained: float = 0.5
    seed: int = 0
    base: BaseSettings = field(default_factory=BaseSettings)
    snapshot: SnapshotParameters = field(default_factory=SnapshotParameters)  # EASE as the snapshot has it


@dataclass(frozen=True, slots=True)
class Renewal:
    """explained: share of the title factors that each older generation's, turned, explain; kept_A: the previous
    generation's A factors stay."""

    titles: int
    likes: int
    base: BaseReport
    kept_A: bool
    energy_slow: float
    explained: dict[str, float]

    def facts(self) -> dict[str, Any]:
        """As JSON."""
        return asdict(self)


def embedding_version(dim: int) -> str:
    """The name of this kind of title factors."""
    return f"ease-svd-{dim}"


def renew(
    interactions: Interactions, previous: Sequence[Generation], settings: GenerationSettings | None = None
) -> tuple[Generation, Renewal] | None:
    """A generation without a name from all interactions; None if nothing is liked by enough users.

    previous: older generations, newest first; its coordinates and, if still good, its A factors are taken over, so that
    adapters change as little as possible. Interactions count for the titles that they name: see evidence.of_series.
    """
    settings = settings or GenerationSettings()
    keys, popularity, weights = _item_weights(interactions, settings.snapshot)
    if not len(keys):
        return None
    rng = np.random.default_rng(settings.seed)
    fresh = _silent(keys, *title_factors(weights, settings.dim, rng), settings)
    older = [one for one in previous if one.embedding_version == fresh.embedding_version][:REMEMBERED]
    users = by_user(interactions, keys)
    fresh = _aligned(fresh, older[0], settings) if older else fresh
    fresh, kept, energy = _with_directions(fresh, users, older, rng, settings)
    fresh, explained = _with_transfers(fresh, older, settings)
    fresh = _with_base_of(fresh, older)
    base, report = train_base_tier(fresh.space(), users, popularity, rng, settings.base)
    outcome = Renewal(len(keys), int(popularity.sum()), report, kept, energy, explained)
    return replace(fresh, base=base), outcome


def _item_weights(
    interactions: Interactions, p: SnapshotParameters
) -> tuple[NDArray[np.uint64], Floats, NDArray[np.float32]]:
    """Keys (c,) of the titles that EASE covers, their likes (c,), and its weights (c, c)."""
    liked = interactions.weight >= POSITIVE
    keys, column = np.unique(interactions.key[liked], return_inverse=True)
    user = interactions.user[liked]
    x = sparse.csr_array(
        (np.ones(len(user), np.float32), (user, column)), shape=(max(interactions.users, 1), len(keys))
    )
    count = np.asarray(x.sum(axis=0)).ravel()
    covered = dense_titles(count, p.ease_min_positives, p.ease_max_titles)
    if not len(covered):
        return keys[:0], count[:0], np.empty((0, 0), np.float32)
    regularisation = p.ease_regularisation * max(len(user), 1) ** 0.5
    return keys[covered], count[covered].astype(np.float32), ease_weights(x[:, covered], regularisation)


def _silent(keys: NDArray[np.uint64], sources: Floats, targets: Floats, settings: GenerationSettings) -> Generation:
    """A generation of these factors, rounded as they will be read, in which no adapter says anything yet."""
    d, axes = settings.dim, np.eye(settings.dim, dtype=np.float32)
    return Generation(
        name="",
        embedding_version=embedding_version(d),
        keys=keys,
        sources=sources.astype(np.float16),
        targets=targets.astype(np.float16),
        A_slow=axes[: settings.slow_rank],
        A_fast=axes[: settings.fast_rank],
        base=Lora(axes[: settings.base.rank], np.zeros((d, settings.base.rank), np.float32), float(settings.base.rank)),
    )


def _shared_factors(one: Generation, other: Generation) -> tuple[Floats, Floats]:
    """Sources above targets of the titles that both know, in the coordinates of each."""
    _, here, there = np.intersect1d(one.keys, other.keys, assume_unique=True, return_indices=True)
    first, second = (
        np.concatenate([g.sources[rows], g.targets[rows]]).astype(np.float32)
        for g, rows in ((one, here), (other, there))
    )
    return first, second


def _aligned(fresh: Generation, previous: Generation, settings: GenerationSettings) -> Generation:
    """Turned so that titles are where they were, as far as they can be."""
    rotation, explained = turn(*_shared_factors(fresh, previous))
    if explained < settings.least_explained:
        return fresh
    sources, targets = (
        (factors.astype(np.float32) @ rotation).astype(np.float16) for factors in (fresh.sources, fresh.targets)
    )
    return replace(fresh, sources=sources, targets=targets)


def _with_directions(
    fresh: Generation, users: Sequence[Evidence], older: Sequence[Generation], rng: np.random.Generator,
    settings: GenerationSettings,
) -> tuple[Generation, bool, float]:  # fmt: skip
    """With A factors; also whether they are the previous generation's, and the share of energy that A_slow sees."""
    space = fresh.space()
    asked = [met_queries(space, user) for user in sampled(users, settings.base.sample, rng)]
    queries = np.concatenate([np.empty((0, settings.dim), np.float32), *asked])
    A = input_directions(queries, settings.slow_rank)
    best, kept = energy_seen(A, queries), False
    if older and older[0].A_slow.shape == A.shape:
        kept = energy_seen(older[0].A_slow, queries) >= settings.enough_energy * best
        A = older[0].A_slow if kept else A
    return replace(fresh, A_slow=A, A_fast=A[: settings.fast_rank]), kept, energy_seen(A, queries)


def _with_transfers(
    fresh: Generation, older: Sequence[Generation], settings: GenerationSettings
) -> tuple[Generation, dict[str, float]]:
    """With the way here from every older generation whose space is still recognisable, and how far each one is."""
    ways, shares = {}, {}
    for one in older:
        rotation, explained = turn(*_shared_factors(one, fresh))
        shares[one.name] = round(explained, 4)
        if explained >= settings.least_explained:
            ways[one.name] = make_transfer(rotation, (one.A_slow, one.A_fast), (fresh.A_slow, fresh.A_fast))
    return replace(fresh, transfers=ways), shares


def _with_base_of(fresh: Generation, older: Sequence[Generation]) -> Generation:
    """With the previous generation's base tier, where it can be carried over: what a new one has to be better than."""
    way = fresh.transfers.get(older[0].name) if older else None
    if way is None:
        return fresh
    old, R = older[0].base, way.rotation
    return replace(fresh, base=Lora(old.A @ R, np.ascontiguousarray(R.T @ old.B), old.alpha))
