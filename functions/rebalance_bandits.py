"""Cloud Run job: give the variants of every running bandit their new shares of the users."""

import numpy as np

from core.flows.experiments import rebalance_all
from core.telemetry import logger
from core.wiring import services


def rebalance_bandits() -> dict[str, dict[str, float]]:
    """Entry point; experiment -> new weights of its variants."""
    done = rebalance_all(services(), np.random.default_rng())
    logger("rebalance_bandits").info("bandits rebalanced", weights=done)
    return done


if __name__ == "__main__":
    rebalance_bandits()
