"""Cloud Run job: build a snapshot of the catalogue from everything known so far, publish it, activate it."""

import time

from core.flows import publish_snapshot as story
from core.telemetry import logger
from core.wiring import services


def publish_snapshot() -> None:
    """Entry point; instances take the snapshot up within `snapshot_max_age_s`."""
    built, log = services(), logger("publish_snapshot")
    done = story.publish_snapshot(built, time.time(), activate_it=True, progress=log.info)
    log.info("snapshot published", **done)


if __name__ == "__main__":
    publish_snapshot()
