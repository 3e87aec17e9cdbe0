"""The story of the background adaptation: everybody whose adaptation is due, most active first, many at a time."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

from core.flows.adapt import adapt_together
from core.flows.services import Services


def adapt_users(
    services: Services,
    shard: int,
    shards: int,
    clock: Callable[[], float],
    progress: Callable[[str], None] = lambda stage: None,
) -> dict[str, int]:
    """Adapt the users of one shard (0 <= shard < shards) until nobody is due; how many got which verdict.

    Nobody is tried twice in one run: whoever stays due has events that came meanwhile, or met somebody else's save.
    Hot copies that could not be written are made at the end. Raises InvalidInput for a shard that does not exist.
    """
    size = services.settings.adaptation.batch
    tried: set[str] = set()
    verdicts: Counter[str] = Counter()
    while True:
        due = services.adapters.due(shard, shards, size + len(tried))
        batch = [user_id for user_id in due if user_id not in tried][:size]
        if not batch:
            break
        tried.update(batch)
        verdicts.update(adapt_together(services, batch, clock()))
        progress(f"{len(tried)} users adapted")
    services.states.refresh_stale(clock())
    return {"users": len(tried), **verdicts}
