"""A small world for adaptations: forty titles of two tastes, a base generation over them, and viewers with a taste."""

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from core.adaptation.generation import Generation
from core.adaptation.lora import Lora
from core.adaptation.space import Space, make_transfer
from core.catalog import Title, content_key
from core.interaction import Interaction, InteractionType
from core.profile.codec import decode, encode
from core.profile.state import UserState, fold
from core.snapshot.build import build
from core.snapshot.inputs import collect_interactions
from core.snapshot.snapshot import Snapshot
from core.stores.protocols import Appended, EventLog, SequencedEvent, StoredState

NOW = 1_790_000_000.0
HOUR_S = 3600.0
DIMS = 16
DRAMAS = tuple(f"drama-{number:02d}" for number in range(40))
COMEDIES = tuple(f"comedy-{number:02d}" for number in range(40))
TITLES = tuple(
    Title(content_id=name, title=name, type="movie", year=2000, genres=(name.split("-")[0],))
    for name in DRAMAS + COMEDIES
)


def generation(name: str = "g1", seed: int = 0, turn: np.ndarray | None = None) -> Generation:
    """Title factors from the singular vectors of random low-rank weights with two blocks; `turn` (d, d) rotates all."""
    rng = np.random.default_rng(seed)
    ids = sorted((title.content_id for title in TITLES), key=content_key)
    taste = np.array([[1.5, 0.0] if name.startswith("drama") else [0.0, 1.5] for name in ids])
    latent = np.concatenate([taste, 0.8 * rng.standard_normal((len(ids), DIMS))], axis=1)
    U, S, Vt = np.linalg.svd(latent @ latent.T / DIMS)
    turn = np.eye(DIMS) if turn is None else turn
    root = np.sqrt(S[:DIMS])
    A = np.linalg.qr(rng.standard_normal((DIMS, 10)))[0].T
    base = Lora(A[:4].astype(np.float32), np.zeros((DIMS, 4), np.float32), 1.0)
    return Generation(
        name,
        "factors-1",
        np.array([content_key(name) for name in ids], np.uint64),
        (U[:, :DIMS] * root @ turn).astype(np.float16),
        (Vt[:DIMS].T * root @ turn).astype(np.float16),
        np.ascontiguousarray(A[:8] @ turn, np.float32),
        np.ascontiguousarray(A[8:] @ turn, np.float32),
        base,
    )


def next_generation(name: str = "g2") -> Generation:
    """The same world turned, with the way there from g1."""
    turn = np.linalg.qr(np.random.default_rng(9).standard_normal((DIMS, DIMS)))[0].astype(np.float32)
    old, new = generation(), generation(name, turn=turn)
    way = make_transfer(turn, (old.A_slow, old.A_fast), (new.A_slow, new.A_fast))
    new.transfers["g1"] = way  # type: ignore[index]
    return new


def snapshot_folder(root: Path, of: Generation | None, now: float = NOW) -> Path:
    return build(TITLES, collect_interactions([]), now, root, generation=of)


def snapshot(root: Path, of: Generation | None = None) -> Snapshot:
    return Snapshot.open(snapshot_folder(root, of or generation()))


def space() -> Space:
    return generation().space()


def likes(user: str, titles: Sequence[str], start: float = NOW - 90 * 86_400.0, first: int = 0) -> list[Interaction]:
    """One title finished every five hours, in order."""
    return [
        Interaction(f"e{first + place}", user, name, InteractionType.WATCH_COMPLETE, start + 5 * HOUR_S * place)
        for place, name in enumerate(titles, first)
    ]


def append(log: EventLog, user: str, events: Sequence[Interaction], due: bool = True) -> Appended:
    """As ingest does it, without a fast tier."""

    def apply(before: StoredState | None, new: Sequence[SequencedEvent]) -> bytes:
        state = decode(user, before.blob) if before else UserState(user)
        return encode(fold(state, ((item.seq, item.event) for item in new)))

    return log.append(user, events, apply, lambda blob: due)


def request(user: str, seq: int) -> bytes:
    return json.dumps({"user_id": user, "seq": seq}).encode()
