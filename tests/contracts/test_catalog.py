"""Catalog on PostgreSQL: upserts that change only what changed, titles that come back as they were."""

import re
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from core.catalog import Availability, Title, content_key
from core.errors import InvalidInput
from core.stores.postgres import catalog as module
from core.stores.postgres.catalog import PostgresCatalog
from core.stores.postgres.connect import ConnectionPool

FULL = Title(
    "the-wire-2002",
    "The Wire",
    type="series",
    year=2002,
    genres=("crime", "drama"),
    keywords=("drug trade",),
    cast=("Dominic West", "Sonja Sohn"),
    directors=(),
    creators=("David Simon",),
    franchise="the wire",
    runtime_minutes=59,
    seasons=5,
    language="en",
    country="US",
    maturity=18,
    overview="A city, seen from both sides of its drug trade.",
    availability=(
        Availability("Cinora", "FI", 1_600_000_000.0),
        Availability("Cinora", "FI", 1_700_000_000.5, 1_800_000_000.0),
        Availability("Vela", "DE", 1_650_000_000.0, 1_660_000_000.0),
    ),
)
BARE = Title("heat-1995", "Heat")


@pytest.fixture
def catalog(sql: ConnectionPool, clean_tables: None) -> PostgresCatalog:
    return PostgresCatalog(sql)


def test_titles_come_back_as_they_were_in_the_order_of_their_ids(catalog: PostgresCatalog) -> None:
    assert catalog.upsert([FULL, BARE]) == 2
    assert list(catalog.titles()) == [BARE, FULL]


def test_the_same_titles_twice_change_nothing(catalog: PostgresCatalog, sql: ConnectionPool) -> None:
    stamps = """
        SELECT content_id, updated_at, xmin::text FROM content
        UNION ALL SELECT content_id, added_at, xmin::text FROM availability
    """
    catalog.upsert([FULL, BARE])
    before = sql.run(lambda c: c.execute(stamps).fetchall())
    assert catalog.upsert([FULL, BARE]) == 0
    assert sql.run(lambda c: c.execute(stamps).fetchall()) == before


@pytest.mark.parametrize(
    "changed",
    [
        replace(FULL, title="The Wire (restored)"),
        replace(FULL, overview=""),
        replace(FULL, availability=FULL.availability[:1]),
        replace(FULL, availability=()),
        replace(FULL, availability=(replace(FULL.availability[0], expires_at=1.9e9), *FULL.availability[1:])),
        replace(FULL, availability=(*FULL.availability, Availability("Vela", "SE", 1.0))),
        replace(FULL, title="Both", availability=(Availability("Vela", "SE", 1.0),)),
    ],
)
def test_a_changed_title_counts_once_and_is_replaced(catalog: PostgresCatalog, changed: Title) -> None:
    catalog.upsert([FULL, BARE])
    assert catalog.upsert([changed, BARE]) == 1
    assert list(catalog.titles()) == [BARE, changed]


def test_of_one_title_twice_in_a_call_the_last_counts(catalog: PostgresCatalog) -> None:
    assert catalog.upsert([BARE, replace(BARE, year=1995)]) == 1
    assert list(catalog.titles()) == [replace(BARE, year=1995)]


def test_titles_not_mentioned_stay(catalog: PostgresCatalog) -> None:
    catalog.upsert([FULL])
    catalog.upsert([BARE])
    assert list(catalog.titles()) == [BARE, FULL]


def test_a_catalogue_larger_than_a_batch_is_stored_and_read_whole(catalog: PostgresCatalog) -> None:
    titles = [Title(f"title-{number:05}", f"Title {number}") for number in range(2 * module.TITLES_PER_BATCH)]
    assert catalog.upsert(iter(titles)) == len(titles)
    assert list(catalog.titles()) == titles


@given(st.lists(st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=20)))
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_text_is_only_text(catalog: PostgresCatalog, names: list[str]) -> None:
    ids = [f"id-{number}-{name}".strip() for number, name in enumerate(names)]
    titles = [
        Title(content_id, "t", genres=(name,), overview=name, availability=(Availability(name, name, 0.0),))
        for content_id, name in zip(ids, names, strict=True)
    ]
    catalog.upsert(titles)
    stored = {title.content_id: title for title in catalog.titles()}
    assert all(stored[title.content_id] == title for title in titles)
    assert catalog.exists([*ids, "missing"]) == set(ids)


def test_hostile_ids_do_not_reach_the_database_as_sql(catalog: PostgresCatalog) -> None:
    hostile = ["'; DROP TABLE content; --", "%s", '{"}', "\\", "$1"]
    catalog.upsert([Title(name, name) for name in hostile])
    assert catalog.exists(hostile) == set(hostile)
    assert {title.content_id for title in catalog.titles()} == set(hostile)


def test_text_that_postgresql_cannot_hold_is_invalid_and_the_batch_changes_nothing(catalog: PostgresCatalog) -> None:
    with pytest.raises(InvalidInput):
        catalog.upsert([BARE, Title("bad", "nul \0")])
    assert list(catalog.titles()) == []


def test_the_stored_key_is_the_unsigned_key_in_twos_complement(catalog: PostgresCatalog, sql: ConnectionPool) -> None:
    titles = [Title(f"title-{number}", "t") for number in range(20)]
    catalog.upsert(titles)
    rows = sql.run(lambda c: c.execute("SELECT content_id, content_key FROM content").fetchall())
    assert {name: key % 2**64 for name, key in rows} == {
        title.content_id: content_key(title.content_id) for title in titles
    }
    assert any(key < 0 for _, key in rows), "the case that needs it"


def test_exists_of_nothing_is_nothing(catalog: PostgresCatalog) -> None:
    assert catalog.exists([]) == set()


def edges(sql: ConnectionPool) -> list[tuple]:
    query = "SELECT source_id, target_id, type, weight, reinforcement FROM content_relationships ORDER BY 1, 2, 3"
    return sql.run(lambda c: c.execute(query).fetchall())


def test_relationships_are_updated_and_what_use_reinforced_is_kept(
    catalog: PostgresCatalog, sql: ConnectionPool
) -> None:
    assert catalog.put_relationships([("a", "b", "SAME_CAST", 0.5), ("a", "b", "SIMILAR_TO", 0.25)]) == 2
    sql.run(lambda c: c.execute("UPDATE content_relationships SET reinforcement = 1.5 WHERE type = 'SAME_CAST'"))
    assert catalog.put_relationships([("a", "b", "SAME_CAST", 0.75), ("a", "b", "SIMILAR_TO", 0.25)]) == 1
    assert edges(sql) == [("a", "b", "SAME_CAST", 0.75, 1.5), ("a", "b", "SIMILAR_TO", 0.25, 1.0)]


def test_many_relationships_and_repeated_ones_are_stored_once(catalog: PostgresCatalog, sql: ConnectionPool) -> None:
    many = [("a", f"b{number}", "CO_WATCHED", number / 7) for number in range(module.EDGES_PER_BATCH + 10)]
    assert catalog.put_relationships(iter([("a", "b0", "CO_WATCHED", 9.0), *many])) == len(many)
    assert catalog.put_relationships(many) == 0
    assert len(edges(sql)) == len(many)


def test_an_unknown_type_of_relationship_is_refused(catalog: PostgresCatalog, sql: ConnectionPool) -> None:
    with pytest.raises(InvalidInput, match="FRIEND_OF"):
        catalog.put_relationships([("a", "b", "FRIEND_OF", 1.0)])
    assert catalog.put_relationships([]) == 0
    assert edges(sql) == []


def test_only_the_driver_binds_values() -> None:
    """Identifiers and clauses in the SQL are constants of the module; every value is a parameter. What cannot be one
    (in DDL) is quoted by the driver's own SQL().format()."""
    for path in Path(module.__file__).parent.glob("*.py"):
        source = re.sub(r"SQL\(\w+\)\.format\(", "", path.read_text())
        assert "execute(f" not in source, path.name
        assert ".format(" not in source, path.name
