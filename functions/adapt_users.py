"""Cloud Run job: adapt everybody whose adaptation is due, most active first; each task takes its shard of the users."""

import time

from core.flows import adapt_users as story
from core.telemetry import logger
from core.wiring import services


def adapt_users() -> dict[str, int]:
    """Entry point; verdict -> users of this task's shard. A repetition finds only what is still due."""
    built = services()
    job = built.settings.job
    done = story.adapt_users(built, job.task_index, job.task_count, time.time)
    logger("adapt_users").info("everybody due was adapted", task=job.task_index, tasks=job.task_count, **done)
    return done


if __name__ == "__main__":
    adapt_users()
