import numpy as np
import pytest

from core.catalog import RelationshipType, Title
from core.snapshot.content import content_neighbours
from core.snapshot.features import content_features
from core.snapshot.graph import WALK_WEIGHTS, content_graph, graph_neighbours, walk_matrix
from core.snapshot.neighbours import blank
from core.snapshot.relationships import EDGES_PER_TYPE, Affinity, families, prominence_of, sequels, shared_names
from core.snapshot.snapshot import RELATIONSHIP_TYPES, RELATIONSHIPS

R = RelationshipType


def plain_affinity(n: int) -> Affinity:
    return Affinity(np.zeros((n, 1), np.float32), np.zeros(n, np.float32))


def named(edges: np.ndarray, titles: list[Title]) -> set[tuple[str, str, str]]:
    return {
        (titles[e["source"]].content_id, RELATIONSHIP_TYPES[e["type"]].value, titles[e["target"]].content_id)
        for e in edges
    }


@pytest.fixture
def edges(titles: list[Title]) -> np.ndarray:
    content = content_neighbours(content_features(titles), 20)
    return content_graph(titles, plain_affinity(len(titles)), content, blank(len(titles), 5))


def test_metadata_gives_the_typed_edges_that_a_film_lover_expects(edges: np.ndarray, titles: list[Title]) -> None:
    found = named(edges, titles)
    assert ("aliens-1986", "SEQUEL_OF", "alien-1979") in found
    assert ("alien-1979", "SEQUEL_OF", "aliens-1986") not in found
    assert ("before-sunrise-1995", "SAME_DIRECTOR", "before-sunset-2004") in found
    assert ("alien-1979", "SAME_CAST", "aliens-1986") in found
    assert ("alien-1979", "SAME_GENRE", "solaris-1972") in found
    assert ("the-expanse-2015-s01e01", "SAME_FRANCHISE", "the-expanse-2015") in found
    assert ("alien-1979", "SIMILAR_TO", "aliens-1986") in found


def test_one_shared_genre_is_no_relationship(edges: np.ndarray, titles: list[Title]) -> None:
    found = named(edges, titles)
    assert ("amelie-2001", "SAME_GENRE", "past-lives-2023") not in found  # romance only
    assert ("before-sunrise-1995", "SAME_GENRE", "past-lives-2023") in found  # romance and drama


def test_edges_are_sorted_bounded_and_never_point_at_their_own_title(edges: np.ndarray, titles: list[Title]) -> None:
    assert np.all(edges["source"] != edges["target"])
    assert np.all((edges["weight"] > 0) & (edges["weight"] <= 1))
    assert np.all(np.diff(edges["source"]) >= 0)
    for code, kind in enumerate(RELATIONSHIP_TYPES):
        counts = np.bincount(edges["source"][edges["type"] == code], minlength=len(titles))
        assert counts.max() <= EDGES_PER_TYPE[kind]


def test_a_reboot_is_no_sequel_but_stays_in_the_franchise() -> None:
    batman = {"franchise": "batman"}
    titles = [
        Title("batman-1989", "Batman", year=1989, cast=("Michael Keaton",), **batman),
        Title("batman-returns-1992", "Batman Returns", year=1992, cast=("Michael Keaton",), **batman),
        Title("batman-begins-2005", "Batman Begins", year=2005, cast=("Christian Bale",), **batman),
        Title("dark-knight-2008", "The Dark Knight", year=2008, cast=("Christian Bale",), **batman),
        Title("batman-x", "Batman X", year=2010, **batman),
    ]
    assert named(sequels(titles), titles) == {
        ("batman-returns-1992", "SEQUEL_OF", "batman-1989"),
        ("dark-knight-2008", "SEQUEL_OF", "batman-begins-2005"),
        ("batman-x", "SEQUEL_OF", "dark-knight-2008"),  # its people are unknown: the year decides
    }
    assert [sorted(rows.tolist()) for rows in families(titles)] == [[0, 1, 2, 3, 4]]


def test_a_rare_shared_name_binds_more_than_a_frequent_one() -> None:
    names = [["star", "friend"], ["star"], ["friend"], ["star"], ["star"], ["star"], ["other"]]
    edges = shared_names(R.SAME_CAST, names, plain_affinity(7))
    weight = {(int(e["source"]), int(e["target"])): float(e["weight"]) for e in edges}
    assert weight[0, 2] > weight[0, 1] > 0
    assert (6, 0) not in weight


def test_among_equally_related_titles_the_better_known_come_first() -> None:
    names = [["hitchcock"]] * 30 + [["nobody"]] * 2
    popularity = np.zeros(32)
    popularity[[5, 17]] = 1000, 500
    affinity = Affinity(np.zeros((32, 1), np.float32), prominence_of(popularity))
    edges = shared_names(R.SAME_DIRECTOR, names, affinity)
    first = edges[edges["source"] == 0]["target"]
    assert len(first) == EDGES_PER_TYPE[R.SAME_DIRECTOR]
    assert first[:2].tolist() == [5, 17]


def test_walk_rows_sum_to_one_and_prefer_strong_types_over_a_single_weak_edge() -> None:
    edges = np.array(
        [(0, 1, RELATIONSHIP_TYPES.index(R.SAME_CAST), 0.05)]
        + [(0, target, RELATIONSHIP_TYPES.index(R.SAME_GENRE), 0.9) for target in (2, 3, 4)],
        RELATIONSHIPS,
    )
    weights = dict.fromkeys(R, 1.0)
    walk = walk_matrix(edges, 5, weights).toarray()
    np.testing.assert_allclose(walk.sum(axis=1), [1, 0, 0, 0, 0])
    cast, genre = 0.05 / 1.05, 2.7 / 3.7
    np.testing.assert_allclose(walk[0, 1], cast / (cast + genre), rtol=1e-5)


def test_sequels_are_walked_in_both_directions() -> None:
    edges = np.array([(1, 0, RELATIONSHIP_TYPES.index(R.SEQUEL_OF), 1.0)], RELATIONSHIPS)
    np.testing.assert_allclose(walk_matrix(edges, 2, WALK_WEIGHTS).toarray(), [[0, 1], [1, 0]])


def test_graph_lists_reach_beyond_direct_edges_and_leave_the_own_title_out() -> None:
    chain = np.array(
        [(a, b, RELATIONSHIP_TYPES.index(R.SIMILAR_TO), 0.5) for a, b in ((0, 1), (1, 0), (1, 2), (2, 1))],
        RELATIONSHIPS,
    )
    lists = graph_neighbours(walk_matrix(chain, 4, WALK_WEIGHTS), 3, 0.3)
    assert lists.index[0].tolist() == [1, 2, 0]
    assert lists.weight[0, 0] > lists.weight[0, 1] > 0 == lists.weight[0, 2]
    assert lists.index[3].tolist() == [3, 3, 3]  # an isolated title leads nowhere
