"""Cloud Run job: give new and changed titles their vectors; each task takes its shard, the last one publishes."""

import time
from typing import Any

from core.flows import embed_catalog as story
from core.telemetry import logger
from core.wiring import services


def embed_catalog() -> dict[str, Any]:
    """Entry point; what this task did. A repetition embeds only what has no current vector yet."""
    log, built = logger("embed_catalog"), services()
    job = built.settings.job
    done = story.embed_catalog(built, job.task_index, job.task_count, progress=log.info)
    log.info("shard embedded", task=job.task_index, tasks=job.task_count, **done)
    if published := story.publish_when_complete(built, done["vectors"], time.time(), progress=log.info):
        log.info("snapshot with vectors published", **published)
    return done


if __name__ == "__main__":
    embed_catalog()
