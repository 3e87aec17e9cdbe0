"""Cloud Run job: train what all users share and where new titles belong, for the next snapshot."""

import time

from core.flows import train_base as story
from core.flows.train_encoders import train_encoders
from core.flows.train_graph import train_graph
from core.telemetry import logger
from core.wiring import services


def train_base() -> None:
    """Entry point: base generation, encoders and graph embedding, one after the other."""
    built, log = services(), logger("train_base")
    log.info("base generation trained", **story.train_base(built, time.time(), progress=log.info))
    log.info("encoders trained", **train_encoders(built, progress=log.info))
    log.info("graph embedding trained", **train_graph(built, progress=log.info))


if __name__ == "__main__":
    train_base()
