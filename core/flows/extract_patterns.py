"""The story of a success: a session that went well becomes a pattern, and at night with others like it one."""

from __future__ import annotations

from core.errors import StoreUnavailable
from core.flows.services import Services
from core.patterns.known import pattern_of
from core.patterns.session import trajectories
from core.snapshot.snapshot import Snapshot
from core.telemetry import logger

EVENTS = 500  # of a user that are read, impressions aside: some sessions, and the likes before them

log = logger("extract_patterns")


def extract_patterns(services: Services, snapshot: Snapshot, user_id: str) -> int:
    """Store the user's latest successful sessions as patterns; returns how many were new or had grown.

    The same events again change nothing. Best effort: a store that does not answer is logged, the sessions are found
    again with the next adaptation.
    """
    try:
        events = services.log.latest(user_id, EVENTS)
        found = list(trajectories((item.seq, item.event) for item in events))
        whole = found[len(events) == EVENTS :]  # the first one may have begun before what was read
        made = [(one, pattern_of(one, snapshot)) for one in whole if one.succeeded]
        return services.patterns.add([(one, pattern) for one, pattern in made if pattern is not None])
    except StoreUnavailable as error:
        log.warning("patterns not extracted", reason=str(error))
        return 0
