import json
import time
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest

from core.adaptation.generation_store import (
    ACTIVE,
    FILE,
    activate_generation,
    active_generation,
    list_generations,
    load_generation,
    named,
    publish_generation,
)
from core.catalog import Title, content_key
from core.errors import Conflict, CorruptData, NotFound, TooLarge
from core.flows.ingest import append
from core.flows.publish_snapshot import publish_snapshot
from core.flows.services import Services
from core.flows.train_base import recent_generations, train_base
from core.interaction import Interaction, InteractionType
from core.snapshot.publish import list_versions
from core.stores.gcs import ensure_bucket

DAY_S = 86_400.0
NOW = 1_790_000_000.0
TITLES = [Title(f"title-{number:02d}", f"Title {number}", genres=("drama",)) for number in range(20)]


@pytest.fixture
def world(services: Services, clean_tables: None) -> Iterator[Services]:
    """Twenty titles in two tastes, nobody's events yet, and an empty bucket."""
    ensure_bucket(services.settings.stores)
    for name in services.bucket.list(""):
        services.bucket.delete(name)
    services.catalog.upsert(TITLES)
    yield services
    for name in services.bucket.list(""):
        services.bucket.delete(name)


def watch(services: Services, viewers: range, now: float) -> None:
    """Each viewer likes seven of the ten titles of a taste."""
    for viewer in viewers:
        rng = np.random.default_rng(viewer)
        user = f"viewer-{viewer}"
        append(
            services.log,
            user,
            [
                Interaction(f"{user}-{n}", user, TITLES[10 * (viewer % 2) + n].content_id, InteractionType.LIKE, at)
                for n, at in zip(rng.permutation(10)[:7], now - DAY_S * np.arange(7, 0, -1), strict=True)
            ],
        )


def test_a_generation_is_trained_published_and_activated(world: Services) -> None:
    watch(world, range(24), NOW)
    report = train_base(world, NOW)
    name, _ = active_generation(world.bucket)
    assert name is not None
    assert name == report["generation"]
    assert list_generations(world.bucket) == [name]
    generation = load_generation(world.bucket, name)
    assert generation.keys.tolist() == sorted(content_key(title.content_id) for title in TITLES)
    assert (report["titles"], report["users"], report["likes"]) == (20, 24, 24 * 7)
    assert (generation.dim, generation.A_slow.shape, generation.A_fast.shape) == (64, (8, 64), (2, 64))
    manifest = json.loads(world.bucket.read(f"generations/{name}/manifest.json")[0])
    assert manifest["facts"]["base"]["accepted"] == report["base_accepted"]
    assert manifest["files"][FILE]["bytes"] == report["bytes"]


def test_training_again_keeps_a_way_from_the_last_three_generations(world: Services) -> None:
    names = []
    for round_ in range(5):
        watch(world, range(10 * round_ + 24), NOW)
        names.append(train_base(world, NOW + round_ * DAY_S)["generation"])
    generation = load_generation(world.bucket, names[-1])
    assert list(generation.transfers) == names[-2:-5:-1]  # newest first
    assert names == sorted(names)


def test_an_older_generation_that_is_gone_is_skipped(world: Services) -> None:
    watch(world, range(24), NOW)
    first, second = (train_base(world, NOW + day)["generation"] for day in (0, DAY_S))
    world.bucket.delete(f"generations/{first}/manifest.json")
    assert [one.name for one in recent_generations(world.bucket, second)] == [second]


def test_too_few_events_train_nothing_and_a_snapshot_is_published_without_a_space(world: Services) -> None:
    assert train_base(world, NOW)["generation"] is None
    assert active_generation(world.bucket) == (None, 0)
    assert publish_snapshot(world, NOW, activate_it=True)["generation"] is None
    assert world.snapshots.current(time.time()).space is None


def test_a_snapshot_over_the_instances_limit_leaves_the_last_one_served(world: Services) -> None:
    served = publish_snapshot(world, NOW, activate_it=True)["version"]
    tight = replace(world, settings=replace(world.settings, snapshot_max_mib=0))
    with pytest.raises(TooLarge):
        publish_snapshot(tight, NOW + DAY_S, activate_it=True)
    assert world.snapshots.current(time.time()).version == served
    assert list_versions(world.bucket) == [served]


def test_the_first_snapshot_with_events_makes_the_first_generation_and_later_ones_keep_it(world: Services) -> None:
    watch(world, range(24), NOW)
    first = publish_snapshot(world, NOW, activate_it=True)
    space = world.snapshots.current(time.time()).space
    assert space is not None
    assert space.generation == first["generation"] == active_generation(world.bucket)[0]
    watch(world, range(24, 30), NOW + DAY_S)
    assert publish_snapshot(world, NOW + DAY_S, activate_it=False)["generation"] == first["generation"]
    trained = train_base(world, NOW + 2 * DAY_S)["generation"]
    assert publish_snapshot(world, NOW + 2 * DAY_S, activate_it=False)["generation"] == trained


def test_who_activates_late_is_told_and_an_older_generation_can_be_had_back(world: Services) -> None:
    watch(world, range(24), NOW)
    first = train_base(world, NOW)["generation"]
    _, pointer = active_generation(world.bucket)
    second = train_base(world, NOW + DAY_S)["generation"]
    with pytest.raises(Conflict):
        activate_generation(world.bucket, first, pointer)
    assert active_generation(world.bucket)[0] == second
    activate_generation(world.bucket, first, active_generation(world.bucket)[1])
    assert active_generation(world.bucket)[0] == first
    for unknown in ("nobody-made-this", "../snapshots"):
        with pytest.raises(NotFound):
            activate_generation(world.bucket, unknown, active_generation(world.bucket)[1])


def test_the_same_log_at_the_same_time_gives_the_same_generation_once(world: Services) -> None:
    watch(world, range(24), NOW)
    name = train_base(world, NOW)["generation"]
    generation = load_generation(world.bucket, name)
    assert named(generation, NOW).name == name  # the name is no part of what is named
    publish_generation(world.bucket, generation, {})
    assert json.loads(world.bucket.read(f"generations/{name}/manifest.json")[0])["facts"] != {}
    world.bucket.delete(ACTIVE)
    assert train_base(world, NOW)["generation"] == name


def test_a_damaged_generation_is_not_used(world: Services) -> None:
    watch(world, range(24), NOW)
    name = train_base(world, NOW)["generation"]
    data = bytearray(world.bucket.read(f"generations/{name}/{FILE}")[0])
    data[-1] ^= 1
    world.bucket.write(f"generations/{name}/{FILE}", bytes(data))
    with pytest.raises(CorruptData, match="sha256"):
        load_generation(world.bucket, name)
    world.bucket.write(f"generations/{name}/manifest.json", b"[]")
    with pytest.raises(CorruptData):
        load_generation(world.bucket, name)
    world.bucket.write(ACTIVE, b"../x")
    with pytest.raises(CorruptData):
        active_generation(world.bucket)
