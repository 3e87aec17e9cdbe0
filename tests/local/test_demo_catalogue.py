"""The demo catalogue holds real titles, one vocabulary, and availability that says it is simulated."""

import json
import re
import unicodedata
from collections import Counter
from collections.abc import Iterator
from importlib.resources import files

import pytest

from core.catalog import Title, title_from_record, title_to_record
from core.local.demo import FILES, demo_titles

# fmt: off
GENRES = {
    "action", "adventure", "animation", "biography", "comedy", "crime", "documentary", "drama", "family", "fantasy",
    "history", "horror", "music", "musical", "mystery", "romance", "science fiction", "sport", "thriller", "war",
    "western",
}
# fmt: on
SERVICES = {"Lumoria+", "Reelwick", "Nightjar TV", "Kinova", "Popcorn Row"}
REGIONS = {"US", "GB", "DE", "FR", "JP", "BR", "IN"}
YEAR_2024, YEAR_2030 = 1_704_067_200, 1_893_456_000
DOCUMENTARY_WITH_ONE_VOICE = 1


@pytest.fixture(scope="module")
def titles() -> list[Title]:
    return list(demo_titles())


def plain(text: str) -> str:
    """Letters and digits without accents: what two spellings of one name have in common."""
    bare = "".join(letter for letter in unicodedata.normalize("NFKD", text) if not unicodedata.combining(letter))
    return re.sub(r"[^a-z0-9]", "", bare.lower())


def people(title: Title) -> Iterator[str]:
    yield from (*title.directors, *title.creators, *title.cast)


def test_there_are_enough_films_and_series(titles: list[Title]) -> None:
    kinds = Counter(title.type for title in titles)
    assert kinds["movie"] >= 500
    assert kinds["series"] >= 150
    assert kinds["episode"] >= 30


def test_every_title_is_there_once_under_an_id_made_of_its_name(titles: list[Title]) -> None:
    assert len({title.content_id for title in titles}) == len(titles)
    assert len({(plain(title.title), title.year, title.type) for title in titles}) == len(titles)
    for title in titles:
        pattern = rf"{title.series_id}-s\d\de\d\d" if title.type == "episode" else rf"[a-z0-9-]+-{title.year}"
        assert re.fullmatch(pattern, title.content_id), title.content_id


def test_files_are_sorted_and_hold_what_their_name_says() -> None:
    for name, kind in zip(FILES, ("movie", "series", "episode"), strict=True):
        lines = files("core.local.demo").joinpath(name).read_text(encoding="utf-8").splitlines()
        rows = [json.loads(line) for line in lines]
        assert {row["type"] for row in rows} == {kind}
        assert rows == sorted(rows, key=lambda row: (row["year"], row["title"], row["content_id"]))
        assert len({tuple(row) for row in rows}) == 1, "every line has the same keys in the same order"


def test_facts_are_plausible(titles: list[Title]) -> None:
    for title in titles:
        assert title.year is not None, title.content_id
        assert 1895 <= title.year <= 2026, title.content_id
        assert title.runtime_minutes is not None, title.content_id
        assert 5 <= title.runtime_minutes <= 600, title.content_id
        assert title.maturity in (0, 6, 12, 16, 18), title.content_id
        assert re.fullmatch(r"[a-z]{2}", title.language or ""), title.content_id
        assert re.fullmatch(r"[A-Z]{2}", title.country or ""), title.content_id
        assert 8 <= len(title.overview.split()) <= 25, title.content_id
        assert (title.seasons is not None) == (title.type == "series"), title.content_id
        assert 1 <= (title.seasons or 1) <= 40, title.content_id
        assert title.type != "movie" or title.directors, title.content_id


def test_genres_keywords_and_people_come_in_useful_numbers(titles: list[Title]) -> None:
    for title in titles:
        assert set(title.genres) <= GENRES, title.content_id
        assert 1 <= len(title.genres) <= 4, title.content_id
        assert 4 <= len(set(title.keywords)) == len(title.keywords) <= 7, title.content_id
        least = DOCUMENTARY_WITH_ONE_VOICE if "documentary" in title.genres else 3
        assert least <= len(set(title.cast)) == len(title.cast) <= 6, title.content_id


def test_episodes_belong_to_a_series_of_the_catalogue_and_share_its_franchise(titles: list[Title]) -> None:
    series = {title.content_id: title for title in titles if title.type == "series"}
    for title in titles:
        if title.type == "episode":
            parent = series[title.series_id or ""]
            assert title.franchise == parent.franchise
            assert title.year is not None
            assert parent.year is not None
            assert title.year >= parent.year
            assert title.availability == parent.availability


def test_a_name_has_one_spelling(titles: list[Title]) -> None:
    spellings: dict[tuple[str, str], set[str]] = {}
    for title in titles:
        named = {"person": tuple(people(title)), "keyword": title.keywords, "franchise": (title.franchise or "",)}
        for kind, names in named.items():
            for name in names:
                spellings.setdefault((kind, plain(name)), set()).add(name)
    assert [names for names in spellings.values() if len(names) > 1] == []


def test_keywords_of_the_same_thing_are_not_told_apart_by_an_s_or_an_article(titles: list[Title]) -> None:
    words = {word for title in titles for word in title.keywords}
    assert {word for word in words if word + "s" in words} == set()
    franchises = {title.franchise for title in titles if title.franchise}
    assert {name for name in franchises if f"the {name}" in franchises} == set()


def test_most_titles_connect_with_others(titles: list[Title]) -> None:
    uses = Counter(word for title in titles for word in title.keywords)
    assert min(sum(uses[word] > 1 for word in title.keywords) for title in titles) >= 1
    credits = Counter(name for title in titles for name in set(people(title)))
    connected = sum(any(credits[name] > 1 for name in people(title)) for title in titles)
    assert connected / len(titles) > 0.6


def test_availability_is_on_invented_services_within_its_years(titles: list[Title]) -> None:
    for title in titles:
        assert 1 <= len(title.availability) <= 3, title.content_id
        offers = {(entry.service, entry.region) for entry in title.availability}
        assert len(offers) == len(title.availability), title.content_id
        assert {service for service, _ in offers} <= SERVICES
        assert {region for _, region in offers} <= REGIONS
        for entry in title.availability:
            assert YEAR_2024 <= entry.added_at < YEAR_2030
            assert entry.expires_at is None or entry.added_at < entry.expires_at < YEAR_2030
    expiring = [entry for title in titles for entry in title.availability if entry.expires_at is not None]
    assert 100 < len(expiring) < len(titles)


def test_titles_survive_the_record_form(titles: list[Title]) -> None:
    assert [title_from_record(json.loads(json.dumps(title_to_record(title)))) for title in titles] == titles


def test_the_folder_says_what_is_simulated() -> None:
    notice = files("core.local.demo").joinpath("README.md").read_text(encoding="utf-8")
    assert "availability is simulated" in notice
    assert all(service in notice for service in SERVICES)
