"""Cloud Run job: keep the reasoning bank; SONA_PATTERNS_MAINTENANCE says whether the daily or the weekly way. Each time
it also lets go of events that are older than they may be kept."""

import time

from core.flows import maintain_patterns as story
from core.flows.retention import retain
from core.telemetry import logger
from core.wiring import services


def maintain_patterns() -> None:
    """Entry point: one run of the maintenance, then what retention no longer keeps is dropped."""
    built, log = services(), logger("maintain_patterns")
    kind = built.settings.patterns.maintenance
    log.info("patterns maintained", **story.maintain_patterns(built, kind, time.time(), progress=log.info))
    log.info("old events dropped", **retain(built, time.time(), progress=log.info))


if __name__ == "__main__":
    maintain_patterns()
