"""Names in queries: found whatever the case, accents or slips; everyday words only where they are meant as titles."""

import pytest

from core.catalog import Title
from core.routing.entities import find_entities
from core.routing.wording import folded
from core.snapshot.snapshot import Snapshot


def titles(catalogue: Snapshot, text: str) -> list[tuple[str, int | None]]:
    """Name and year of the most popular title of each mention."""
    found: list[Title] = [catalogue.title(row) for row in find_entities(catalogue, text).rows()]
    return [(title.title, title.year) for title in found]


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("sci-fi like stranger things on my platforms", "Stranger Things"),
        ("films like AMELIE", "Amélie"),
        ("where is lord of the rings", "The Lord of the Rings: The Fellowship of the Ring"),
        ("similair to peaky blindres", "Peaky Blinders"),
        ("is heat on kinova", "Heat"),
        ("where can i watch up", "Up"),
        ("movies like her", "Her"),
        ("us", "Us"),
        ("I loved the film Drive yesterday", "Drive"),
        ("her streaming", None),
        ("mad max fury road", "Mad Max: Fury Road"),
    ],
)
def test_titles_are_found_as_people_write_them(catalogue: Snapshot, text: str, name: str | None) -> None:
    found = [title for title, _ in titles(catalogue, text)]
    assert found[:1] == [name or "Her"]


@pytest.mark.parametrize(
    "text",
    [
        "something dark and creepy",
        "anything to lift me up",
        "movies about time travel",
        "i lost my keys, cheer me up",
        "a drive through the heat with friends",
        "what should we watch",
        "make us laugh",
    ],
)
def test_everyday_words_are_no_titles(catalogue: Snapshot, text: str) -> None:
    assert titles(catalogue, text) == []


def test_a_year_tells_remakes_apart(catalogue: Snapshot) -> None:
    assert titles(catalogue, "where is nosferatu 1922") == [("Nosferatu", 1922)]
    assert titles(catalogue, "where is nosferatu 2024") == [("Nosferatu", 2024)]
    assert len(find_entities(catalogue, "nosferatu").titles[0].rows) == 2


def test_a_whole_title_comes_before_the_rest_of_its_franchise(catalogue: Snapshot) -> None:
    rows = find_entities(catalogue, "where is the godfather").titles[0].rows
    assert catalogue.title(rows[0]).title == "The Godfather"
    assert {catalogue.title(row).title for row in rows[1:]} == {"The Godfather Part II", "The Godfather Part III"}


def test_the_longest_name_wins(catalogue: Snapshot) -> None:
    assert titles(catalogue, "like alien romulus") == [("Alien: Romulus", 2024)]
    assert titles(catalogue, "before sunset and before sunrise") == [("Before Sunset", 2004), ("Before Sunrise", 1995)]


def test_people_are_found_by_full_name_and_makers_by_surname(catalogue: Snapshot) -> None:
    people = lambda text: [person.name for person in find_entities(catalogue, text).people]  # noqa: E731
    assert people("films starring cate blanchett") == ["Cate Blanchett"]
    assert people("Bong Joon Ho thrillers") == ["Bong Joon-ho"]
    assert people("miyazaki") == ["Hayao Miyazaki"]
    assert people("a film about a young woman") == []
    rows = find_entities(catalogue, "tarantino").people[0].rows
    assert {catalogue.title(row).title for row in rows} >= {"Pulp Fiction", "Kill Bill: Vol. 1"}


def test_platforms_are_found_without_their_marks(catalogue: Snapshot) -> None:
    services = lambda text: find_entities(catalogue, text).services  # noqa: E731
    assert services("anything on lumoria or nightjar") == ("Lumoria+", "Nightjar TV")
    assert services("is it on Popcorn Row?") == ("Popcorn Row",)
    assert services("is it on netflix") == ()


def test_genres_years_languages_places_and_moods_are_read(catalogue: Snapshot) -> None:
    said = find_entities(catalogue, "korean sci-fi series from the 90s, available in germany on my services").phrases
    assert (said.genres, said.languages, said.regions, said.types) == (
        ("science fiction",),
        ("ko",),
        ("DE",),
        ("series",),
    )
    assert (said.year_min, said.year_max, said.own_services) == (1990, 1999, True)
    assert find_entities(catalogue, "a romcom before 2000").phrases.genres == ("comedy", "romance")
    assert find_entities(catalogue, "a romcom before 2000").phrases.year_max == 1999
    assert find_entities(catalogue, "films after 2010").phrases.year_min == 2010
    without = find_entities(catalogue, "something funny but no horror please").phrases
    assert (without.genres, without.exclude_genres, without.mood) == ((), ("horror",), "happy")
    assert find_entities(catalogue, "i'm sad, make me laugh").phrases.mood == "happy"
    assert find_entities(catalogue, "i'm sad today").phrases.mood == "sad"
    assert find_entities(catalogue, "with german subtitles").phrases.languages == ()


def test_words_are_part_of_one_name_only(catalogue: Snapshot) -> None:
    said = find_entities(catalogue, "like rise of the planet of the apes")
    assert [mention.name for mention in said.titles] == ["rise of the planet of the apes"]
    assert find_entities(catalogue, "like american horror story").phrases.genres == ("horror",)


def test_folding_drops_case_accents_and_marks() -> None:
    assert folded("  Amélie's  WALL·E & friends—8½ ") == "amelies wall e and friends 81 2"
