"""Cloud Run job: train what all users share, and activate it for the next snapshot."""

import time

from core.flows import train_base as story
from core.telemetry import logger
from core.wiring import services


def train_base() -> None:
    log = logger("train_base")
    log.info("base generation trained", **story.train_base(services(), time.time(), progress=log.info))


if __name__ == "__main__":
    train_base()
