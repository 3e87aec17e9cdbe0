"""Walking from title to title through people, on PostgreSQL."""

import pytest

from core.catalog import Title
from core.errors import InvalidInput
from core.stores.postgres.catalog import PostgresCatalog
from core.stores.postgres.connect import ConnectionPool
from core.stores.postgres.ways import FAN_OUT, WAYS
from core.stores.protocols import Step, Way

HEAT = Title("heat", "Heat", cast=("Al Pacino", "Robert De Niro"), directors=("Michael Mann",))
INSOMNIA = Title("insomnia", "Insomnia", cast=("Al Pacino",), directors=("Christopher Nolan",))
TENET = Title("tenet", "Tenet", directors=("Christopher Nolan",))
BATMAN = Title("batman-begins", "Batman Begins", directors=("Christopher Nolan",), franchise="batman")
JOKER = Title("joker", "Joker", cast=("Robert De Niro",), directors=("Todd Phillips",), franchise="batman")
MIAMI = Title("miami-vice", "Miami Vice", "series", creators=("Michael Mann",))
EPISODE = Title("miami-vice-1", "Pilot", "episode", directors=("Michael Mann",), series_id="miami-vice")
ALONE = Title("alone", "Alone", cast=("Nobody Else",))


@pytest.fixture
def catalog(sql: ConnectionPool, clean_tables: None) -> PostgresCatalog:
    stored = PostgresCatalog(sql)
    stored.upsert([HEAT, INSOMNIA, TENET, BATMAN, JOKER, MIAMI, EPISODE, ALONE])
    return stored


def targets(ways: list[Way]) -> set[str]:
    return {way.content_id for way in ways}


def test_one_hop_leads_to_titles_that_share_a_person_and_names_them(catalog: PostgresCatalog) -> None:
    assert catalog.ways("heat", ["cast"], 1) == [
        Way("insomnia", (Step("cast", "Al Pacino", "insomnia"),)),
        Way("joker", (Step("cast", "Robert De Niro", "joker"),)),
    ]


def test_who_created_a_series_counts_as_its_director_and_episodes_are_left_out(catalog: PostgresCatalog) -> None:
    assert targets(catalog.ways("heat", ["director"], 2)) == {"miami-vice"}
    assert targets(catalog.ways("miami-vice", ["director"], 1)) == {"heat"}


def test_several_hops_change_the_kind_of_way_and_explain_each_step(catalog: PostgresCatalog) -> None:
    found = {way.content_id: way.steps for way in catalog.ways("heat", ["director", "cast"], 2)}
    assert found["tenet"] == (Step("cast", "Al Pacino", "insomnia"), Step("director", "Christopher Nolan", "tenet"))
    assert "tenet" not in targets(catalog.ways("heat", ["cast"], 3))
    through_all = catalog.ways("heat", ["director", "cast", "franchise"], 3)
    to_batman = {tuple(step.name for step in way.steps) for way in through_all if way.content_id == "batman-begins"}
    assert {("Al Pacino", "Christopher Nolan"), ("Robert De Niro", "batman")} <= to_batman


def test_ways_are_the_shortest_first_and_never_come_by_a_title_twice(catalog: PostgresCatalog) -> None:
    found = catalog.ways("heat", ["director", "cast", "franchise"], 3)
    assert [len(way.steps) for way in found] == sorted(len(way.steps) for way in found)
    for way in found:
        passed = ["heat", *(step.content_id for step in way.steps)]
        assert len(set(passed)) == len(passed)
        assert passed[-1] == way.content_id
    assert max(len(way.steps) for way in found) == 3


def test_nothing_shared_and_unknown_titles_lead_nowhere(catalog: PostgresCatalog) -> None:
    assert catalog.ways("alone", ["director", "cast", "franchise"], 3) == []
    assert catalog.ways("unknown'; DROP TABLE content; --", ["cast"], 2) == []


@pytest.mark.parametrize(("via", "hops"), [([], 1), (["genre"], 1), (["cast"], 0), (["cast"], 4)])
def test_other_kinds_and_longer_ways_are_refused(catalog: PostgresCatalog, via: list[str], hops: int) -> None:
    with pytest.raises(InvalidInput, match="director, cast, franchise"):
        catalog.ways("heat", via, hops)


def test_the_fan_is_limited_and_every_name_gets_its_turn(catalog: PostgresCatalog) -> None:
    busy = [Title(f"busy-{i:03}", "b", cast=("Al Pacino",)) for i in range(100)]
    catalog.upsert(busy)
    found = catalog.ways("heat", ["cast", "director"], 1)
    assert len(found) == FAN_OUT
    assert {step.name for way in found for step in way.steps} == {"Al Pacino", "Robert De Niro", "Michael Mann"}


def test_three_hops_over_thousands_of_titles_use_the_index_and_stay_within_a_second(
    catalog: PostgresCatalog, sql: ConnectionPool
) -> None:
    people = [f"Person {i}" for i in range(900)]
    catalog.upsert(Title(f"t{i}", "t", cast=tuple(people[(i * k) % 900] for k in (1, 7, 31, 101))) for i in range(3000))
    found = catalog.ways("t1", ["cast"], 3)  # the pool gives up after a second
    assert 300 < len(found) <= FAN_OUT * (1 + FAN_OUT // 2 * (1 + FAN_OUT // 4))
    sql.run(lambda c: c.execute("ANALYZE content"))
    arguments = {"start": "t1", "via": ["cast"], "hops": 2, "fan_out": FAN_OUT}
    plan = sql.run(lambda c: c.execute("EXPLAIN " + WAYS, arguments).fetchall())
    assert any("content_facts" in line for (line,) in plan)
