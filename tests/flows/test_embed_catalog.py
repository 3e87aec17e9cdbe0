"""The job that embeds the catalogue, run as a job on real stores, and what text finds afterwards."""

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from core.catalog import Title
from core.embedding.encoder import Encoder
from core.embedding.features import TEXT_FORMAT
from core.embedding.minilm import VERSION
from core.embedding.model_folder import MANIFEST
from core.embedding.model_store import RETRY_S, EncoderHolder, activate_model, publish_model
from core.errors import CorruptData, NotFound
from core.flows.embed_catalog import embed_catalog, embed_if_possible, publish_when_complete
from core.flows.publish_snapshot import publish_snapshot, text_vectors
from core.flows.recommend import recommend
from core.flows.search import match_text
from core.flows.services import Services
from core.local.demo import demo_titles
from core.ranking.query import Query
from core.snapshot.publish import active_manifest, active_version, list_versions
from core.stores.gcs import ensure_bucket
from core.stores.postgres.connect import ConnectionPool

NOW = 1_790_000_000.0
VECTORS = f"{VERSION}+text-{TEXT_FORMAT}"
WANTED = (
    "alien",
    "aliens",
    "the-martian",
    "gravity",
    "interstellar",
    "apollo-13",
    "reservoir-dogs",
    "heat",
    "das-boot",
)
ALL = {title.content_id: title for title in demo_titles() if title.type == "movie"}
TITLES = [*({i: t for i, t in ALL.items() if i.rpartition("-")[0] in WANTED} | dict(list(ALL.items())[:40])).values()]


@pytest.fixture
def world(services: Services, clean_tables: None, encoder_folder: Path) -> Iterator[Services]:
    """A real catalogue, an active encoder, nothing embedded yet."""
    ensure_bucket(services.settings.stores)
    activate_model(services.models, publish_model(services.models, encoder_folder))
    services.catalog.upsert(TITLES)
    yield services
    for bucket in (services.bucket, services.models):
        for name in bucket.list(""):
            bucket.delete(name)


def start(world: Services, task: int, tasks: int, home: Path) -> subprocess.Popen[str]:
    """One task of the job as Cloud Run starts it."""
    stores = world.settings.stores
    environment = {
        "PATH": os.environ["PATH"],
        "OPENBLAS_NUM_THREADS": "1",
        "CLOUD_RUN_TASK_INDEX": str(task),
        "CLOUD_RUN_TASK_COUNT": str(tasks),
        "SONA_EMBEDDING_PAGE": "4",
        "SONA_CACHE_DIR": str(home / f"cache-{task}"),
        "SONA_STORES_SQL_DSN": stores.sql_dsn,
        "SONA_STORES_REDIS_URL": stores.redis_url,
        "SONA_STORES_STORAGE_ENDPOINT": stores.storage_endpoint,
    }
    command = [sys.executable, "-m", "functions.embed_catalog"]
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def finish(task: subprocess.Popen[str]) -> int:
    """Wait for a task; how many titles it says it embedded."""
    output, _ = task.communicate(timeout=240)
    assert task.returncode == 0, output
    found = re.search(r'"embedded": (\d+)', output)
    assert found, output
    return int(found.group(1))


def written(sql: ConnectionPool) -> dict[str, object]:
    """When each title's vector was written."""
    return dict(sql.run(lambda c: c.execute("SELECT content_id, generated_at FROM content_embeddings").fetchall()))


def test_parallel_tasks_one_of_them_killed_embed_everything_once(
    world: Services, sql: ConnectionPool, tmp_path: Path
) -> None:
    tasks = [start(world, task, 2, tmp_path) for task in range(2)]
    deadline = time.monotonic() + 120
    while not written(sql) and time.monotonic() < deadline:
        time.sleep(0.02)
    tasks[0].send_signal(signal.SIGKILL)
    tasks[0].communicate()
    embedded = finish(tasks[1])
    survived = written(sql)
    assert 0 < len(survived) < len(TITLES)
    again = finish(start(world, 0, 2, tmp_path))
    after = written(sql)
    assert len(after) == len(TITLES)
    assert {content_id: after[content_id] for content_id in survived} == survived
    assert again == len(TITLES) - len(survived)
    assert again + embedded <= len(TITLES)
    assert finish(start(world, 0, 2, tmp_path)) == 0
    assert len(list_versions(world.bucket)) == 1  # published once, by the task that completed it
    assert active_manifest(world.bucket).parameters["text"]["version"] == VECTORS


@pytest.fixture
def embedded(world: Services) -> Services:
    """Some fifty titles with their vectors in the active snapshot."""
    embed_catalog(world, 0, 1)
    publish_when_complete(world, VECTORS, NOW)
    return world


def test_a_snapshot_carries_the_vectors_within_a_hundredth(embedded: Services) -> None:
    snapshot = embedded.snapshots.current(NOW)
    assert snapshot.text is not None
    stored = text_vectors(embedded)
    assert stored is not None
    exact = stored.over(snapshot.keys)
    query = embedded.encoders.active().embed(["a heist that goes wrong"])[0]
    assert snapshot.text_version == VECTORS
    np.testing.assert_allclose(snapshot.text.cosine(query), exact @ query, atol=0.01)


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("slow-burn space survival", {"the-martian-2015", "gravity-2013", "interstellar-2014", "apollo-13-1995"}),
        ("heist gone wrong", {"reservoir-dogs-1992", "heat-1995", "dog-day-afternoon-1975"}),
        ("Sigourney Weaver alien", {"alien-1979", "aliens-1986"}),
    ],
)
def test_a_text_finds_what_it_means_and_whom_it_names(embedded: Services, query: str, expected: set[str]) -> None:
    answer = recommend(embedded, Query("somebody-new", limit=10, text=query), NOW)
    known = expected & {title.content_id for title in TITLES}
    assert known & {item.content_id for item in answer.items}
    assert answer.items[0].strategy == "search"
    assert "encoder" not in answer.degraded


def test_the_database_finds_what_a_snapshot_does_not_carry(embedded: Services) -> None:
    snapshot = embedded.snapshots.current(NOW)
    carried, _ = match_text(embedded, snapshot, "stranded on a planet")
    asked, degraded = match_text(embedded, replace(snapshot, text=None), "stranded on a planet")
    assert degraded == ()
    np.testing.assert_allclose(asked.meaning, carried.meaning, atol=0.01)


def test_titles_that_match_no_text_come_up_only_without_one(embedded: Services) -> None:
    asked = recommend(embedded, Query("somebody-new", limit=10, text="submarine"), NOW)
    plain = recommend(embedded, Query("somebody-new", limit=10), NOW)
    assert {item.content_id for item in asked.items} != {item.content_id for item in plain.items}
    assert all("search" not in item.parts for item in plain.items)


def test_without_its_encoder_search_goes_by_words_and_says_so(embedded: Services, tmp_path: Path) -> None:
    snapshot = embedded.snapshots.current(NOW)
    for name in embedded.models.list(""):
        embedded.models.delete(name)
    restarted = replace(embedded, encoders=EncoderHolder(embedded.models, tmp_path / "empty"))
    match, degraded = match_text(restarted, snapshot, "submarine")
    assert degraded == ("encoder",)
    best = snapshot.title(int(match.meaning.argmax()))
    assert "submarine" in f"{best.title} {best.overview} {' '.join(best.keywords)}".lower()
    answer = recommend(restarted, Query("somebody-new", limit=5, text="submarine"), NOW)
    assert answer.items
    assert "encoder" in answer.degraded


def test_only_changed_titles_are_embedded_again_and_published(embedded: Services) -> None:
    before = active_version(embedded.bucket)
    assert embed_catalog(embedded, 0, 1)["embedded"] == 0
    assert publish_when_complete(embedded, VECTORS, NOW + 60) is None
    embedded.catalog.upsert([Title("new-1", "The Deep", overview="A diver finds a city beneath the ice.")])
    assert embed_catalog(embedded, 0, 1)["embedded"] == 1
    assert publish_when_complete(embedded, VECTORS, NOW + 120) is not None
    assert active_version(embedded.bucket) != before


def test_a_new_model_takes_over_when_it_has_caught_up(embedded: Services, encoder_folder: Path, tmp_path: Path) -> None:
    folder = tmp_path / "next"
    folder.mkdir()
    for name in ("model.onnx", "tokenizer.json"):
        (folder / name).write_bytes((encoder_folder / name).read_bytes())
    (folder / MANIFEST).write_text((encoder_folder / MANIFEST).read_text().replace(VERSION, "minilm-next"))
    activate_model(embedded.models, publish_model(embedded.models, folder))
    vectors = f"minilm-next+text-{TEXT_FORMAT}"
    embed_catalog(embedded, 0, 2)
    assert publish_when_complete(embedded, vectors, NOW + 60) is None
    half = text_vectors(embedded)
    assert half is not None
    assert half.version == VECTORS  # whoever publishes now still has all titles
    assert publish_snapshot(embedded, NOW + 90, activate_it=True)["vectors"] == VECTORS
    embed_catalog(embedded, 1, 2)
    published = publish_when_complete(embedded, vectors, NOW + 120)
    assert published is not None
    assert published["vectors"] == vectors


def test_without_an_active_encoder_nothing_is_embedded(world: Services) -> None:
    for name in world.models.list(""):
        world.models.delete(name)
    said: list[str] = []
    assert not embed_if_possible(world, said.append)
    assert said == ["no text encoder is active: search will go by words"]


def test_a_damaged_model_in_the_bucket_is_refused_and_not_asked_for_again_at_once(
    world: Services, tmp_path: Path, encoder_folder: Path
) -> None:
    name = f"models/text-encoder/{VERSION}/model.onnx"
    world.models.write(name, b"something else")
    clock = [0.0]
    holder = EncoderHolder(world.models, tmp_path, clock=lambda: clock[0])
    with pytest.raises(CorruptData):
        holder.get(VERSION)
    world.models.upload(name, encoder_folder / "model.onnx")
    with pytest.raises(CorruptData):
        holder.get(VERSION)
    clock[0] = RETRY_S
    assert holder.get(VERSION).version == VERSION
    with pytest.raises(NotFound):
        holder.get("unknown")


def test_a_fetched_model_is_the_published_one(world: Services, tmp_path: Path, encoder_folder: Path) -> None:
    fetched = EncoderHolder(world.models, tmp_path).active()
    texts = ["a quiet film about bread"]
    np.testing.assert_array_equal(fetched.embed(texts), Encoder.open(encoder_folder).embed(texts))
