"""Embeddings on PostgreSQL with pgvector."""

from collections.abc import Sequence

import numpy as np
import pytest

from core.catalog import Title
from core.errors import InvalidInput
from core.stores.postgres.catalog import PostgresCatalog
from core.stores.postgres.connect import ConnectionPool
from core.stores.postgres.embeddings import PostgresEmbeddings, nearest_statement
from core.stores.protocols import PendingTitle

OLD, NEW, LARGE = "model-1+text-1", "model-2+text-1", "model-3+text-1"
TITLES = [Title(f"title-{number:02d}", f"Title {number}") for number in range(30)]


@pytest.fixture
def catalog(sql: ConnectionPool, clean_tables: None) -> PostgresCatalog:
    catalog = PostgresCatalog(sql)
    catalog.upsert(TITLES)
    return catalog


@pytest.fixture
def embeddings(sql: ConnectionPool, catalog: PostgresCatalog) -> PostgresEmbeddings:
    return PostgresEmbeddings(sql)


def random_rows(n: int, dims: int = 8, seed: int = 0) -> np.ndarray:
    rows = np.random.default_rng(seed).standard_normal((n, dims)).astype(np.float32)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def ids(pending: Sequence[PendingTitle]) -> list[str]:
    return [title.title.content_id for title in pending]


def everything(embeddings: PostgresEmbeddings, version: str) -> list[PendingTitle]:
    return embeddings.pending(version, 0, 1, "", 1000)


def test_what_is_embedded_is_no_longer_pending(embeddings: PostgresEmbeddings) -> None:
    pending = everything(embeddings, OLD)
    assert [title.title for title in pending] == TITLES
    assert embeddings.put(OLD, pending[:10], random_rows(10)) == 10
    assert ids(everything(embeddings, OLD)) == ids(pending[10:])
    assert len(everything(embeddings, NEW)) == 30


def test_pages_go_on_where_the_last_one_ended(embeddings: PostgresEmbeddings) -> None:
    first = embeddings.pending(OLD, 0, 1, "", 7)
    second = embeddings.pending(OLD, 0, 1, first[-1].title.content_id, 100)
    assert ids(first) + ids(second) == [title.content_id for title in TITLES]


@pytest.mark.parametrize("shards", [1, 2, 3, 7])
def test_shards_share_the_catalogue_without_overlap(embeddings: PostgresEmbeddings, shards: int) -> None:
    parts = [ids(embeddings.pending(OLD, shard, shards, "", 1000)) for shard in range(shards)]
    assert sorted(content_id for part in parts for content_id in part) == [title.content_id for title in TITLES]


@pytest.mark.parametrize(("shard", "shards"), [(1, 1), (-1, 2), (0, 0)])
def test_a_shard_that_does_not_exist_is_refused(embeddings: PostgresEmbeddings, shard: int, shards: int) -> None:
    with pytest.raises(InvalidInput):
        embeddings.pending(OLD, shard, shards, "", 10)


def test_vectors_come_back_within_half_precision(embeddings: PostgresEmbeddings) -> None:
    pending, rows = everything(embeddings, OLD), random_rows(30, dims=384)
    embeddings.put(OLD, pending, rows)
    found = dict(embeddings.vectors(OLD))
    assert sorted(found) == ids(pending)
    for content_id, row in zip(ids(pending), rows, strict=True):
        assert found[content_id].dtype == np.float16
        np.testing.assert_array_equal(found[content_id], row.astype(np.float16))
    assert list(embeddings.vectors(NEW)) == []


def test_only_a_changed_text_is_embedded_again(embeddings: PostgresEmbeddings, catalog: PostgresCatalog) -> None:
    pending = everything(embeddings, OLD)
    embeddings.put(OLD, pending, random_rows(30))
    assert embeddings.put(OLD, pending, random_rows(30, seed=1)) == 0
    before = embeddings.coverage(OLD)
    assert (before.titles, before.embedded, before.current) == (30, 30, 30)
    catalog.upsert([Title("title-03", "Another title")])
    changed = embeddings.coverage(OLD)
    assert (changed.embedded, changed.current, changed.fingerprint) == (30, 29, before.fingerprint)
    assert ids(everything(embeddings, OLD)) == ["title-03"]
    assert embeddings.put(OLD, everything(embeddings, OLD), random_rows(1)) == 1
    after = embeddings.coverage(OLD)
    assert (after.current, after.fingerprint != before.fingerprint) == (30, True)


def test_a_title_that_is_gone_takes_its_vectors_along(embeddings: PostgresEmbeddings, sql: ConnectionPool) -> None:
    pending = everything(embeddings, OLD)
    embeddings.put(OLD, pending[:20], random_rows(20))
    sql.run(lambda c: c.execute("DELETE FROM content WHERE content_id IN ('title-00', 'title-25')"))
    assert embeddings.coverage(OLD).embedded == 19
    assert embeddings.put(OLD, pending[20:], random_rows(10)) == 9


def test_versions_live_side_by_side_the_last_written_first(embeddings: PostgresEmbeddings) -> None:
    pending = everything(embeddings, OLD)
    embeddings.put(OLD, pending, random_rows(30))
    embeddings.put(NEW, pending[:3], random_rows(3, dims=16))
    assert embeddings.versions() == [NEW, OLD]
    assert [embeddings.coverage(version).embedded for version in (NEW, OLD)] == [3, 30]
    assert {len(vector) for _, vector in embeddings.vectors(NEW)} == {16}


def test_the_nearest_are_those_of_an_exact_scan(embeddings: PostgresEmbeddings) -> None:
    pending, rows = everything(embeddings, OLD), random_rows(30)
    embeddings.put(OLD, pending, rows)
    query = random_rows(1, seed=9)[0]
    cosine = rows @ query
    order = np.argsort(-cosine)[:5]
    for _ in range(2):  # without and with the index
        found = embeddings.nearest(OLD, query, 5)
        assert [content_id for content_id, _ in found] == [ids(pending)[place] for place in order]
        np.testing.assert_allclose([similarity for _, similarity in found], cosine[order], atol=2e-3)
        embeddings.index(OLD)


def test_a_large_version_is_searched_through_its_index(
    embeddings: PostgresEmbeddings, catalog: PostgresCatalog, sql: ConnectionPool
) -> None:
    catalog.upsert(Title(f"more-{number:04d}", f"More {number}") for number in range(3000))
    pending = embeddings.pending(LARGE, 0, 1, "", 5000)
    rows = random_rows(len(pending), dims=32)
    for start in range(0, len(pending), 200):
        embeddings.put(LARGE, pending[start : start + 200], rows[start : start + 200])
    embeddings.index(LARGE)
    embeddings.index(LARGE)  # once is enough
    sql.run(lambda c: c.execute("ANALYZE content_embeddings"))
    query = random_rows(1, dims=32, seed=9)[0]
    plan = sql.run(lambda c: c.execute(b"EXPLAIN " + nearest_statement(LARGE, query, 10).as_bytes(c)).fetchall())
    assert "Index Scan using content_embeddings_hnsw" in plan[1][0] + plan[0][0]
    exact = {ids(pending)[place] for place in np.argsort(-(rows @ query))[:10]}
    assert len(exact & {content_id for content_id, _ in embeddings.nearest(LARGE, query, 10)}) >= 9


def test_only_one_publishes_at_a_time(embeddings: PostgresEmbeddings) -> None:
    with embeddings.publishing() as first, embeddings.publishing() as second:
        assert (first, second) == (True, False)
    with embeddings.publishing() as later:
        assert later
