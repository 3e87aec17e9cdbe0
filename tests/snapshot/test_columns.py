import numpy as np
import pytest

from core.catalog import Title, content_key
from core.errors import InvalidInput
from core.snapshot.columns import columns_of
from core.snapshot.snapshot import NO_GENRE


def test_rows_are_in_key_order_whatever_the_order_of_the_titles(titles: list[Title]) -> None:
    forward, backward = columns_of(titles), columns_of(titles[::-1])
    assert np.all(np.diff(forward.keys.astype(object)) > 0)
    assert [content_key(title.content_id) for title in forward.titles] == forward.keys.tolist()
    np.testing.assert_array_equal(forward.attributes, backward.attributes)


def test_facts_are_coded_and_unknown_facts_are_minus_one(titles: list[Title]) -> None:
    columns = columns_of(titles)
    row_of = {title.content_id: row for row, title in enumerate(columns.titles)}
    alien, episode = columns.attributes[row_of["alien-1979"]], columns.attributes[row_of["the-expanse-2015-s01e01"]]
    genres = {name for code, name in enumerate(columns.genres) if alien["genres"] >> code & 1}
    assert genres == {"science fiction", "thriller"}
    assert columns.genres[alien["primary"]] == "science fiction"
    assert (alien["year"], alien["maturity"], alien["runtime"]) == (1979, 16, -1)
    assert columns.franchises[alien["franchise"]] == "alien"
    assert columns.languages[alien["language"]] == "en"
    assert episode["parent"] == row_of["the-expanse-2015"]
    assert (episode["genres"], episode["primary"], episode["language"], episode["franchise"]) == (0, NO_GENRE, -1, -1)


def test_the_genre_mask_holds_the_thirty_two_most_frequent_genres() -> None:
    titles = [Title(f"t{n}", "T", genres=tuple(f"g{g:02}" for g in range(n, 40))) for n in range(40)]
    columns = columns_of(titles)
    assert columns.genres == tuple(f"g{g:02}" for g in range(39, 7, -1))
    row_of = {title.content_id: row for row, title in enumerate(columns.titles)}
    assert columns.attributes["genres"][row_of["t0"]] == 2**32 - 1
    assert columns.attributes["primary"][row_of["t0"]] == 31  # g08: the first of its genres that has a bit


def test_open_ended_availability_never_expires(titles: list[Title]) -> None:
    columns = columns_of(titles)
    assert columns.availability["expires_at"].tolist()[0] == np.inf
    assert [columns.services[code] for code in columns.availability["service"]] == ["Lumen", "Orbit"]
    assert np.all(np.diff(columns.availability["row"]) >= 0)


def test_an_empty_catalogue_and_a_repeated_id_are_refused(titles: list[Title]) -> None:
    with pytest.raises(InvalidInput, match="at least one title"):
        columns_of([])
    with pytest.raises(InvalidInput, match="alien-1979"):
        columns_of([*titles, titles[0]])
