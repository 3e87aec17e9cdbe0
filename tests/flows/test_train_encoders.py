"""The encoders' way from the event log to a new title's place in a snapshot."""

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest

from core.catalog import Title
from core.embedding import content_encoder, user_encoder
from core.embedding.content_encoder_renewal import RenewalSettings
from core.embedding.content_encoder_training import EncoderSettings
from core.embedding.model_store import active_model
from core.flows.ingest import append
from core.flows.publish_snapshot import publish_snapshot
from core.flows.services import Services
from core.flows.train_encoders import train_encoders
from core.interaction import Interaction, InteractionType
from core.stores.gcs import ensure_bucket

NOW = 1_790_000_000.0
# Six genres have one audience, the six others another: only the interactions say so.
TITLES = [Title(f"t{i}", f"{chr(97 + i % 26)}{i}", genres=(f"genre {i % 12}",)) for i in range(48)]
QUICK = RenewalSettings(
    held_back=0.2, training=EncoderSettings(steps=30, users=30, negatives=40, rate=0.005), least_users=10
)


@pytest.fixture
def world(services: Services, clean_tables: None) -> Iterator[Services]:
    """Sixty viewers who like three titles each, and an empty bucket."""
    ensure_bucket(services.settings.stores)
    for name in services.bucket.list(""):
        services.bucket.delete(name)
    services.catalog.upsert(TITLES)
    rng = np.random.default_rng(2)
    for viewer in range(60):
        audience = [i for i in range(48) if i % 12 // 6 == viewer % 2]
        user = f"viewer-{viewer}"
        liked = [TITLES[i].content_id for i in rng.choice(audience, 3, replace=False)]
        append(
            services.log,
            user,
            [Interaction(f"{user}-{one}", user, one, InteractionType.LIKE, NOW - 3600.0) for one in liked],
        )
    yield services
    for name in services.bucket.list(""):
        services.bucket.delete(name)


def test_a_title_added_after_the_training_is_placed_in_the_next_snapshot(world: Services) -> None:
    report = train_encoders(world, settings=QUICK)
    assert report["content_encoder"]
    assert report["gain"] > 2 * report["gain_se"]
    for kind in (content_encoder.KIND, user_encoder.KIND):
        assert active_model(world.bucket, kind) == report["content_encoder"]
    world.catalog.upsert([Title("brand-new", "Brand New", genres=("genre 3",))])
    published = publish_snapshot(world, NOW, activate_it=True)
    assert published["content_encoder"] == report["content_encoder"]
    snapshot, _ = world.snapshot(NOW + 1e6)
    vector = snapshot.encoded[snapshot.row("brand-new")].astype(np.float32)
    assert np.linalg.norm(vector) == pytest.approx(1, abs=0.01)
    fit = snapshot.encoded.astype(np.float32) @ vector
    own = [snapshot.row(f"t{i}") for i in range(48) if i % 12 < 6]
    other = [snapshot.row(f"t{i}") for i in range(48) if i % 12 >= 6]
    assert fit[own].min() > fit[other].max()


def test_encoders_that_do_not_help_are_not_activated(world: Services) -> None:
    unused = replace(QUICK, snapshot=replace(QUICK.snapshot, audience_strength=0.0))
    assert train_encoders(world, settings=unused)["content_encoder"] is None
    assert active_model(world.bucket, content_encoder.KIND) is None
    assert publish_snapshot(world, NOW, activate_it=False)["content_encoder"] is None


def test_a_damaged_encoder_does_not_stop_the_next_snapshot(world: Services) -> None:
    version = train_encoders(world, settings=QUICK)["content_encoder"]
    world.bucket.write(f"models/{content_encoder.KIND}/{version}/model.onnx", b"not what the manifest says")
    assert publish_snapshot(world, NOW, activate_it=False)["content_encoder"] is None
