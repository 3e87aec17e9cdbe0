"""Each kind of data set is read from a zip or a folder; rows that cannot be used are counted with their reasons."""

import gzip
import json
import zipfile
from pathlib import Path

import pytest

from core.api.schemas import EventFields
from core.catalog import Title
from core.errors import InvalidInput
from core.importers import Source, detect, read
from core.importers.facts import genre_names, name_and_year
from core.importers.tabular import ORDER_START_S, ORDER_STEP_S, best_rating
from core.interaction import Interaction, InteractionType, Onboarding

NOW = 1.8e9
ITEM_100K = "1|Toy Story (1995)|01-Jan-1995||http://example.org|0|0|0|1|1|1|0|0|0|0|0|0|0|0|0|0|0|0|0\n"
RELEASES = {
    "ml-100k": {"u.data": "196\t1\t3\t881250949\n", "u.item": ITEM_100K},
    "ml-1m": {
        "ratings.dat": "196::1::3::881250949\n",
        "movies.dat": "1::Toy Story (1995)::Animation|Children's|Comedy\n",
        "users.dat": "1::F::1::10::48067\n",
    },
    "ml-latest-small": {
        "ratings.csv": "userId,movieId,rating,timestamp\n196,1,3.0,881250949\n",
        "movies.csv": "movieId,title,genres\n1,Toy Story (1995),Animation|Children|Comedy\n",
        "links.csv": "movieId,imdbId,tmdbId\n1,0114709,862\n",
    },
}


def write_folder(root: Path, files: dict[str, str], encoding: str = "utf-8") -> Path:
    root.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(text.encode(encoding))
    return root


def write_zip(path: Path, files: dict[str, str]) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for name, text in files.items():
            archive.writestr(name, text)
    return path


def consumed(source: Source) -> tuple[list[Title], list]:
    return list(source.titles), list(source.events)


@pytest.mark.parametrize("release", RELEASES)
@pytest.mark.parametrize("packed", [True, False], ids=["zip", "folder"])
def test_every_family_of_movielens_releases_says_the_same(release: str, packed: bool, tmp_path: Path) -> None:
    files = {f"{release}/{name}": text for name, text in RELEASES[release].items()}
    path = write_zip(tmp_path / "ml.zip", files) if packed else write_folder(tmp_path / "ml", files)
    assert detect(path) == "movielens"
    source = read("movielens", path)
    titles, events = consumed(source)
    assert titles == [Title("ml-1", "Toy Story", year=1995, genres=("animation", "family", "comedy"))]
    assert len(events) == 1
    assert (events[0].user_id, events[0].content_id, events[0].rating) == ("ml-196", "ml-1", 3.0)
    assert (events[0].type, events[0].occurred_at) == (InteractionType.RATING_EXPLICIT, 881250949.0)
    assert source.report.rejected_rows == 0
    assert source.report.bytes_read == source.report.bytes_total
    assert "GroupLens" in source.licence


def test_movietweetings_ratings_are_halved_and_accounts_never_read(tmp_path: Path) -> None:
    path = write_folder(
        tmp_path,
        {
            "latest/ratings.dat": "1::0114508::9::1381006850\n",
            "latest/movies.dat": "0000008::Edison Kinetoscopic Record of a Sneeze (1894)::Documentary|Short\n"
            "0114508::Species (1995)::Action|Horror|Sci-Fi\n",
            "latest/users.dat": "1::177651718\n",
            "snapshots/10K/ratings.dat": "7::0000008::2::1\n",
        },
    )
    assert detect(path) == "movietweetings"
    titles, events = consumed(read("movietweetings", path))
    assert titles[1] == Title("mt-114508", "Species", year=1995, genres=("action", "horror", "science fiction"))
    assert [(event.user_id, event.content_id, event.rating) for event in events] == [("mt-1", "mt-114508", 4.5)]


def test_old_releases_in_latin_1_keep_their_accents(tmp_path: Path) -> None:
    files = {"ratings.dat": "1::73::5::1\n", "movies.dat": "73::Misérables, Les (1995)::Drama|Musical\n"}
    path = write_folder(tmp_path, files, "latin-1")
    assert [title.title for title in read("movielens", path).titles] == ["Les Misérables"]


def test_rows_that_cannot_be_used_are_counted_with_their_reason_and_place(tmp_path: Path) -> None:
    rows = ["userId,movieId,rating,timestamp", "1,1,4.0,100", "1,1", "1,2,six,100", "1,2,9.0,100", ",2,3.0,100"]
    rows += ["1,2,nan,100", "1,2,3.0,-5", "1,2,3\0.0,100", "", "2,2,0.5,200"]
    movies = 'movieId,title,genres\n1,"Good, the Bad and the Ugly, The (1966)",Western\n2,,Drama\n3\n'
    source = read("movielens", write_folder(tmp_path, {"ratings.csv": "\n".join(rows), "movies.csv": movies}))
    titles, events = consumed(source)
    assert [title.title for title in titles] == ["The Good, the Bad and the Ugly"]
    assert [event.occurred_at for event in events] == [100.0, 200.0]
    counted = {reason: entry.count for reason, entry in source.report.rejected.items()}
    assert counted == {
        "no id or no title": 1,
        "too few columns": 1,
        "not four columns": 1,
        "rating is not a number": 2,
        "rating outside 0..5": 1,
        "no user or no item": 1,
        "timestamp before 1970": 1,
        "holds a NUL character": 1,
    }
    assert source.report.rejected["rating is not a number"].examples[0] == "ratings.csv:4: 1,2,six,100"
    assert source.report.rejected_rows == 9
    assert (source.report.titles, source.report.events) == (1, 2)


def test_only_the_first_rows_of_a_reason_are_quoted(tmp_path: Path) -> None:
    ratings = "".join(f"1::{item}::bad::1\n" for item in range(50))
    source = read("movielens", write_folder(tmp_path, {"ratings.dat": ratings, "movies.dat": "1::A (1999)::Drama\n"}))
    consumed(source)
    assert source.report.rejected["rating is not a number"].count == 50
    assert len(source.report.rejected["rating is not a number"].examples) == 3


def test_reading_again_gives_the_same_event_ids_and_every_row_its_own(tmp_path: Path) -> None:
    rows = "user_id,item_id,rating,timestamp\n1,1,4,100\n1,1,5,200\n1,2,4,100\n2,1,4,100\n"
    path = write_folder(tmp_path, {"interactions.csv": rows})
    first, second = ([event.event_id for event in read("csv", path).events] for _ in range(2))
    assert first == second
    assert len(set(first)) == 4


def test_own_data_may_be_gzipped_and_on_any_usual_scale(tmp_path: Path) -> None:
    rows = "user_id,item_id,rating,timestamp\n1,7,8,100\n1,8,10,200\n2,7,1,50\n"
    (tmp_path / "interactions.csv.gz").write_bytes(gzip.compress(rows.encode()))
    item = {"item_id": 7, "title": "Heat", "year": 1995, "type": "tv", "genres": ["Sci-Fi", "IMAX"], "runtime": 170}
    item |= {"country": ["US", "GB"], "certificate": "R", "popularity": 99.0, "platforms": ["netflix"]}
    (tmp_path / "items.jsonl.gz").write_bytes(gzip.compress(json.dumps(item).encode() + b"\nnot json\n"))
    assert detect(tmp_path) == "csv"
    source = read("csv", tmp_path)
    titles, events = consumed(source)
    assert titles == [
        Title("7", "Heat", "series", 1995, ("science fiction",), runtime_minutes=170, country="US", maturity=17)
    ]
    assert [event.rating for event in events] == [4.0, 5.0, 0.5]
    assert source.report.best_rating == 10.0
    assert source.report.rejected["not JSON"].count == 1
    assert source.report.bytes_read == source.report.bytes_total
    assert source.licence == ""


def test_columns_are_found_by_name_in_any_order(tmp_path: Path) -> None:
    rows = 'timestamp,rating,movieId,note,userId\n100,4,7,"a, b",1\n'
    (event,) = read("csv", write_folder(tmp_path, {"interactions.csv": rows}), prefix="x-").events
    assert (event.user_id, event.content_id, event.rating, event.occurred_at) == ("x-1", "x-7", 4.0, 100.0)


def test_order_only_data_become_completed_views_a_minute_apart(tmp_path: Path) -> None:
    rows = "user_id,item_id,pos\n1,7,0\n1,8,1\n"
    first, second = read("csv", write_folder(tmp_path, {"interactions.csv": rows})).events
    assert (first.type, first.rating, first.occurred_at) == (InteractionType.WATCH_COMPLETE, None, ORDER_START_S)
    assert second.occurred_at == ORDER_START_S + ORDER_STEP_S


def test_json_lines_hold_ratings_or_whole_events(tmp_path: Path) -> None:
    records = [
        {"user_id": "ann", "item_id": "heat", "rating": 4, "timestamp": 100},
        {"event_id": "e1", "user_id": "ann", "content_id": "heat", "type": "watch_progress", "progress": 0.5}
        | {"occurred_at": 200},
        {"event_id": "e2", "user_id": "ann", "type": "onboarding", "occurred_at": 50, "genres": ["crime"]},
        {"event_id": "e3", "user_id": "ann", "content_id": "heat", "type": "teleport", "occurred_at": 1},
        [],
    ]
    lines = "\n".join(json.dumps(record) for record in records)
    source = read("jsonl", write_folder(tmp_path, {"interactions.jsonl": lines}), prefix="p-")
    rating, progress, onboarding = source.events
    assert isinstance(rating, Interaction)
    assert rating.rating == 4.0
    assert isinstance(progress, Interaction)
    assert (progress.content_id, progress.progress) == ("p-heat", 0.5)
    assert isinstance(onboarding, Onboarding)
    assert (onboarding.user_id, onboarding.genres) == ("p-ann", ("crime",))
    assert source.report.rejected_rows == 2


@pytest.mark.parametrize(
    "fields",
    [
        {"type": "like", "timestamp": "2024-05-01T20:15:00Z"},
        {"type": "LIKE", "timestamp": "2024-05-01T22:15:00.5+02:00", "event_id": "e1"},
        {"type": "rating", "rating": 4.5, "occurred_at": 1714594500, "device_type": "tv", "is_rewatch": True},
        {"type": "progress", "completion_rate": 0.4, "timestamp": 1714594500.0, "request_id": "r", "device": None},
        {"type": "view", "timestamp": 1714594500, "position": 3, "strategy": "graph", "latency_ms": 2.5},
    ],
)
def test_json_lines_are_events_as_the_interface_takes_them(fields: dict, tmp_path: Path) -> None:
    record = {"user_id": "ann", "content_id": "heat", **fields}
    path = write_folder(tmp_path, {"interactions.jsonl": json.dumps(record)})
    (event,), (again,) = read("jsonl", path).events, read("jsonl", path).events
    sent = EventFields.model_validate_json(json.dumps({"content_id": "heat", **fields}))
    assert event == again == sent.event("ann", NOW, NOW, fallback_id=event.event_id)


def test_events_that_cannot_be_used_are_counted_with_what_they_need(tmp_path: Path) -> None:
    good = {"user_id": "ann", "content_id": "heat", "type": "like", "timestamp": 100}
    wrong = {
        "no user_id": {"user_id": None},
        "no content_id": {"content_id": None},
        "no timestamp": {"timestamp": None},
        "timestamp is neither Unix seconds nor RFC 3339 with its offset": {"timestamp": "2024-05-01T20:15:00"},
        "timestamp before 1970": {"timestamp": -1},
        "progress outside 0..1": {"progress": 40},
        "rating is not a number": {"rating": "good"},
        "rating_explicit needs a rating": {"type": "rating"},
    }
    lines = "\n".join(json.dumps(good | change) for change in wrong.values())
    source = read("jsonl", write_folder(tmp_path, {"interactions.jsonl": lines}))
    assert list(source.events) == []
    assert list(source.report.rejected) == list(wrong)


def test_one_file_of_json_lines_may_have_any_name(tmp_path: Path) -> None:
    record = {"user_id": "ann", "item_id": "heat", "rating": 4, "timestamp": "1970-01-01T00:01:40Z"}
    folder = write_folder(tmp_path, {"mine.jsonl": json.dumps(record), "items.jsonl": '{"id": 1, "title": "Heat"}'})
    titles, (event,) = consumed(read("jsonl", folder / "mine.jsonl"))
    assert (titles, event.occurred_at) == ([], 100.0)
    titles, events = consumed(read("jsonl", folder / "items.jsonl"))
    assert ([title.title for title in titles], events) == (["Heat"], [])


@pytest.mark.parametrize(
    ("ratings", "best"),
    [([0.5, 5.0], 5.0), ([1, 10], 10.0), ([80], 100.0), ([], 5.0), ([4.0] * 2000 + [9999.0], 5.0)],
)
def test_the_scale_is_the_smallest_that_holds_nearly_all_ratings(ratings: list[float], best: float) -> None:
    assert best_rating(ratings) == best


@pytest.mark.parametrize(
    ("written", "name", "year"),
    [
        ("Matrix, The (1999)", "The Matrix", 1999),
        ("Avventura, L' (L'Avventura) (1960)", "Avventura, L' (L'Avventura)", 1960),
        ("Americain, L' (2004)", "L'Americain", 2004),
        ("2001: A Space Odyssey (1968)", "2001: A Space Odyssey", 1968),
        ("Death Note (2006-2007)", "Death Note", 2006),
        ("Babylon 5", "Babylon 5", None),
    ],
)
def test_names_and_years_are_taken_apart(written: str, name: str, year: int | None) -> None:
    assert name_and_year(written) == (name, year)


def test_genres_get_one_spelling_and_what_is_no_genre_goes() -> None:
    assert genre_names(["Sci-Fi", "sci-fi", "Children's", "IMAX", "Film-Noir", "(no genres listed)"]) == (
        "science fiction",
        "family",
        "film noir",
    )


def test_what_cannot_be_read_at_all_says_so(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="not one of"):
        read("netflix", tmp_path)
    with pytest.raises(InvalidInput, match="neither a file nor a folder"):
        read("movielens", tmp_path / "absent.zip")
    for kind in ("movielens", "movietweetings", "csv", "jsonl"):
        with pytest.raises(InvalidInput, match="holds n"):
            read(kind, tmp_path)
    with pytest.raises(InvalidInput, match="needs the columns"):
        read("csv", write_folder(tmp_path / "odd", {"interactions.csv": "who,what\n1,2\n"}))
    with pytest.raises(InvalidInput, match="holds no data set"):
        detect(write_folder(tmp_path / "x", {"a.txt": ""}))


def test_a_damaged_archive_is_an_error_that_names_the_file(tmp_path: Path) -> None:
    packed = gzip.compress(b"user_id,item_id,rating,timestamp\n" + b"1,1,4,100\n" * 5000)
    (tmp_path / "interactions.csv.gz").write_bytes(packed[: len(packed) // 2])
    with pytest.raises(InvalidInput, match=r"interactions\.csv\.gz cannot be read"):
        list(read("csv", tmp_path).events)


def test_memory_does_not_grow_with_the_file(tmp_path: Path) -> None:
    import tracemalloc

    rows = "user_id,item_id,rating,timestamp\n" + "".join(f"{i},{i % 97},4,{i}\n" for i in range(60_000))
    path = write_folder(tmp_path, {"interactions.csv": rows})
    tracemalloc.start()
    assert sum(1 for _ in read("csv", path).events) == 60_000
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 1_000_000  # the file has more than that in text alone
