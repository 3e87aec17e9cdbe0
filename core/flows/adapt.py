"""The story of an adaptation: what a user's slow tier learns from the log, under EWC, judged on what it did not see.

A user whose adaptation is due is marked in the transaction of the event that made it so; the message sent here only
makes it happen soon. Training is deterministic given the log, the snapshot and the generation; what is saved went
through compare-and-set, so that adapting twice, late or at once changes nothing.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace

from core.adaptation.slow_tier import SlowTier, pack
from core.errors import Conflict, CorruptData, InvalidInput, StoreUnavailable
from core.flows.adaptation_lesson import Prepared, Trained, prepare, train_together
from core.flows.extract_patterns import extract_patterns
from core.flows.services import Services
from core.stores.protocols import Adaptation, StoredAdapter
from core.telemetry import count, logger

DAMAGE = (CorruptData, InvalidInput)  # of one user's data: repeating mends nothing
ATTEMPTS = 3  # of somebody whose save came second; each time somebody else's succeeded

log = logger("adapt")


@dataclass(frozen=True, slots=True)
class Adapted:
    """verdict: accepted, rolled_back, nothing_to_learn, known (already folded in), erased. version of the adapter that
    now is the newest, 0 for none."""

    verdict: str
    version: int
    upto_seq: int
    examples: int = 0


def request_adaptation(services: Services, user_id: str, seq: int) -> bool:
    """Ask for an adaptation; False when the broker did not take it: then the next event or the hourly job asks."""
    data = json.dumps({"user_id": user_id, "seq": seq}).encode()
    try:
        services.publisher.publish(services.settings.adaptation.topic, user_id, data, {})
    except StoreUnavailable as error:
        log.warning("adaptation not requested", reason=str(error))
        return False
    return True


def adapt(services: Services, user_id: str, seq: int, now: float, force: bool = False) -> Adapted:
    """Adapt one user to all events there are, if those up to `seq` are not folded in yet, or anyway with `force`.

    Raises StoreUnavailable, and Conflict when others kept saving first: then deliver the message again. Raises
    CorruptData or InvalidInput for data of the user that no repetition would mend.
    """
    snapshot, _ = services.snapshot(now)
    generation = snapshot.space.generation if snapshot.space else ""
    for _ in range(ATTEMPTS):
        stored = services.adapters.load(user_id)
        if not force and already_adapted(services, user_id, stored, seq, generation):
            if stored is not None:  # the first delivery may have died before it made the copy
                services.states.save_hot_adapter(user_id, stored)
            return Adapted("known", stored.version if stored else 0, seq)
        prepared = prepare(services, snapshot, user_id, stored)
        [trained] = train_together(snapshot.space, [prepared], services.settings.adaptation)
        try:
            done = conclude(services, prepared, trained, now)
            extract_patterns(services, snapshot, user_id)
            return done
        except Conflict:
            log.info("another adaptation was first", seq=seq)
    raise Conflict("other adaptations of this user keep coming first")


def already_adapted(services: Services, user_id: str, stored: StoredAdapter | None, seq: int, generation: str) -> bool:
    """Whether what a message asks for has been done: folded in, or tried and found harmful."""
    if stored is not None and stored.folded_upto_seq >= seq and generation in ("", stored.generation):
        return True
    latest = services.adapters.adaptations(user_id, 1)
    return any(entry.upto_seq >= seq and entry.generation == generation for entry in latest)


def conclude(services: Services, prepared: Prepared, trained: Trained | None, now: float) -> Adapted:
    """Save what was learned, cold then hot, or record why not. Raises Conflict when somebody else saved first."""
    done = _saved(services, prepared, trained, now)
    count("sona.adaptations", verdict=done.verdict)
    return done


def _saved(services: Services, prepared: Prepared, trained: Trained | None, now: float) -> Adapted:
    user_id, stored = prepared.user_id, prepared.stored
    newest = stored.version if stored else 0
    entry = log_entry(prepared, trained, now)
    if trained is None or not trained.report.accepted:
        kept = services.adapters.record(entry)
        return Adapted(entry.verdict if kept else "erased", newest, prepared.upto_seq, prepared.liked)
    adapter = to_store(trained.tier, newest + 1, prepared.upto_seq, now)
    if not services.adapters.save(user_id, adapter, entry):
        return Adapted("erased", 0, prepared.upto_seq)
    services.states.save_hot_adapter(user_id, adapter)
    return Adapted(entry.verdict, adapter.version, prepared.upto_seq, prepared.liked)


def to_store(tier: SlowTier, version: int, folded_upto_seq: int, now: float) -> StoredAdapter:
    """A tier as the next version. Raises InvalidInput or CorruptData instead of storing NaN."""
    adapter = replace(tier.adapter, version=version)
    blob = pack(replace(tier, adapter=adapter))
    return StoredAdapter(blob, version, folded_upto_seq, adapter.generation, now)


def log_entry(prepared: Prepared, trained: Trained | None, now: float) -> Adaptation:
    """The line of the log of adaptations: what was trained on what, and everything that was measured."""
    verdict = trained.report.verdict if trained else "nothing_to_learn"
    return Adaptation(
        user_id=prepared.user_id,
        at=now,
        from_seq=prepared.from_seq,
        upto_seq=prepared.upto_seq,
        snapshot=prepared.snapshot,
        generation=prepared.generation,
        seed=prepared.seed,
        verdict=verdict,
        metrics=trained.metrics if trained else {},
    )


def adapt_together(services: Services, user_ids: Sequence[str], now: float) -> dict[str, int]:
    """Adapt several users in shared matrix products, as the job does; how many got which verdict.

    Whoever was adapted by somebody else meanwhile counts as `conflict` and keeps the mark if there is more to learn;
    whose stored data cannot be read or learned from counts as `damaged`, and keeps nobody else from learning.
    """
    snapshot, _ = services.snapshot(now)
    several: list[Prepared] = []
    verdicts: Counter[str] = Counter()
    for user_id in user_ids:
        try:
            several.append(prepare(services, snapshot, user_id, services.adapters.load(user_id)))
        except DAMAGE as error:
            verdicts[_damaged(error)] += 1
    trained = train_together(snapshot.space, several, services.settings.adaptation)
    for prepared, outcome in zip(several, trained, strict=True):
        try:
            verdict = conclude(services, prepared, outcome, now).verdict
            extract_patterns(services, snapshot, prepared.user_id)
        except Conflict:
            verdict = "conflict"
        except DAMAGE as error:
            verdict = _damaged(error)
        verdicts[verdict] += 1
    return dict(verdicts)


def _damaged(error: Exception) -> str:
    log.error("a user could not be adapted", reason=str(error))
    return "damaged"
