"""A real encoder, built from the installed weights."""

from pathlib import Path

import pytest

from core.embedding.encoder import Encoder


@pytest.fixture(scope="session")
def encoder(encoder_folder: Path) -> Encoder:
    return Encoder.open(encoder_folder)
