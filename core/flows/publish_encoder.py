"""The story of a text encoder: build it from the published weights, put it into the models bucket, activate it."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

from core.embedding.minilm import VERSION
from core.embedding.model_store import activate_model, active_model, publish_model
from core.embedding.weights import ensure_minilm
from core.errors import NotFound
from core.flows.services import Services


def publish_encoder(services: Services) -> str:
    """Publish and activate the default encoder; returns its version. The next `embed_catalog` embeds with it.

    Raises NotFound when neither an installed package nor `embedding.weights` has the weights, CorruptData when they
    are not the published ones.
    """
    with TemporaryDirectory() as workplace:
        folder = ensure_minilm(Path(workplace) / VERSION, services.settings.embedding.weights)
        if folder is None:
            raise NotFound("the weights of the text encoder are not installed: the extra `local` brings them")
        version = publish_model(services.models, folder)
    activate_model(services.models, version)
    return version


def ensure_encoder(services: Services) -> str | None:
    """The active encoder's version; the default one is published when none is active and its weights are here."""
    try:
        return active_model(services.models) or publish_encoder(services)
    except NotFound:
        return None
