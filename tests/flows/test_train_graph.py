"""The graph embedding's way from the event log to a new title's place in the graph's lists."""

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest

from core.catalog import Title
from core.embedding.graph_sage import SageSettings
from core.embedding.graph_sage_model import KIND
from core.embedding.graph_sage_renewal import GraphRenewalSettings
from core.embedding.model_store import active_model
from core.flows.ingest import append
from core.flows.publish_snapshot import publish_snapshot
from core.flows.services import Services
from core.flows.train_graph import train_graph
from core.interaction import Interaction, InteractionType
from core.snapshot.parameters import SnapshotParameters
from core.stores.gcs import ensure_bucket

NOW = 1_790_000_000.0
# Six keywords have one audience, the six others another: only the interactions say so.
TITLES = [Title(f"t{i}", f"{chr(97 + i % 26)}{i}", keywords=(f"theme {i % 12}",)) for i in range(144)]
QUICK = GraphRenewalSettings(
    held_back=0.2,
    least_users=10,
    training=SageSettings(features=16, hidden=16, dims=16, steps=150, pairs=300, negatives=60, weight=1.0, rate=0.02),
    snapshot=SnapshotParameters(neighbours=20),
)


@pytest.fixture
def world(services: Services, clean_tables: None) -> Iterator[Services]:
    """Two hundred and forty viewers who like five titles each, and an empty bucket."""
    ensure_bucket(services.settings.stores)
    for name in services.bucket.list(""):
        services.bucket.delete(name)
    services.catalog.upsert(TITLES)
    rng = np.random.default_rng(2)
    for viewer in range(240):
        audience = [i for i in range(144) if i % 12 // 6 == viewer % 2]
        user = f"viewer-{viewer}"
        liked = [TITLES[i].content_id for i in rng.choice(audience, 5, replace=False)]
        append(
            services.log,
            user,
            [Interaction(f"{user}-{one}", user, one, InteractionType.LIKE, NOW - 3600.0) for one in liked],
        )
    yield services
    for name in services.bucket.list(""):
        services.bucket.delete(name)


def test_a_title_added_after_the_training_is_found_in_the_graph_by_its_audience(world: Services) -> None:
    report = train_graph(world, settings=QUICK)
    assert report["graph_embedding"] == active_model(world.bucket, KIND)
    assert report["gain"] > 2 * report["gain_se"]
    world.catalog.upsert([Title("brand-new", "Brand New", keywords=("theme 3",))])
    published = publish_snapshot(world, NOW, activate_it=True)
    assert published["graph_embedding"] == report["graph_embedding"]
    snapshot, _ = world.snapshot(NOW + 1e6)
    new, near = snapshot.row("brand-new"), np.zeros(144)
    for i in range(144):
        row = snapshot.row(f"t{i}")
        near[i] = snapshot.graph.weight[row][snapshot.graph.index[row] == new].sum()
    theme, audience = np.arange(144) % 12, np.arange(144) % 12 < 6
    assert near[audience & (theme != 3)].mean() > 2 * near[~audience].mean()


def test_an_embedding_that_does_not_help_is_not_activated(world: Services) -> None:
    unused = replace(QUICK, snapshot=replace(QUICK.snapshot, sage_strength=0.0))
    report = train_graph(world, settings=unused)
    assert report["graph_embedding"] is None
    assert report["gain"] == 0
    assert active_model(world.bucket, KIND) is None
    assert publish_snapshot(world, NOW, activate_it=False)["graph_embedding"] is None


def test_a_damaged_embedding_does_not_stop_the_next_snapshot(world: Services) -> None:
    version = train_graph(world, settings=QUICK)["graph_embedding"]
    world.bucket.write(f"models/{KIND}/{version}/weights.bin", b"not what the manifest says")
    assert publish_snapshot(world, NOW, activate_it=False)["graph_embedding"] is None
