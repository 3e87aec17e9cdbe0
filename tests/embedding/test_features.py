"""Titles as text and as structured features."""

import numpy as np
import pytest

from core.catalog import Title
from core.embedding.features import FACTS_SHARE, Vocabulary, fact_terms, text_of
from core.errors import CorruptData
from core.snapshot.features import FIELDS

ALIEN = Title(
    "alien", "Alien", year=1979, genres=("horror", "science fiction"), keywords=("space", "monster"),
    cast=("Sigourney Weaver",), directors=("Ridley Scott",), runtime_minutes=117, language="en",
    overview="The crew of a freighter answers a call.",
)  # fmt: skip
ALIENS = Title("aliens", "Aliens", year=1986, genres=("horror", "action"), keywords=("space",), runtime_minutes=137)
LOVE = Title("love", "Love", genres=("romance",))


def test_the_text_says_what_a_title_is_about_and_names_nobody():
    assert text_of(ALIEN) == "horror, science fiction. The crew of a freighter answers a call. space, monster."
    assert text_of(ALIENS) == "Aliens. horror, action. space."  # without an overview the name is all there is
    assert text_of(Title("x", "Unknown", type="series")) == "Unknown."


def test_numbers_between_two_knots_are_split_between_them():
    assert fact_terms(Title("x", "X", year=1999, runtime_minutes=90)) == {
        "year:1995": pytest.approx(0.2), "year:2000": pytest.approx(0.8), "runtime:90": 1.0,
    }  # fmt: skip
    assert fact_terms(Title("x", "X", year=1890, runtime_minutes=1000)) == {"year:1930": 1.0, "runtime:240": 1.0}
    assert fact_terms(LOVE) == {}


def test_a_vocabulary_holds_the_terms_that_titles_share_most_frequent_first():
    assert Vocabulary.of([ALIEN, ALIENS, LOVE]).terms == (
        "era/movie", "genres/horror", "keywords/space", "title/alien",
    )  # fmt: skip
    assert Vocabulary.of([ALIEN, ALIENS, LOVE], max_terms=1).terms == ("era/movie",)


def test_a_title_of_known_terms_has_a_block_of_the_field_s_share():
    titles = [ALIEN, ALIENS, LOVE, Title("again", "Love", genres=("romance",), year=1979)]
    vocabulary = Vocabulary.of(titles)
    rows = vocabulary.features(titles).toarray()
    genres = [place for place, term in enumerate(vocabulary.terms) if term.startswith("genres/")]
    share = next(share for name, share, _ in FIELDS if name == "genres")
    assert (rows[2, genres] ** 2).sum() == pytest.approx(share, rel=1e-5)  # romance alone
    assert 0 < (rows[0, genres] ** 2).sum() < share  # science fiction is only Alien's, but counts for the length
    assert rows[3, list(vocabulary.terms).index("facts/year:1980")] == pytest.approx(np.sqrt(FACTS_SHARE) * 0.9)


def test_unknown_terms_weaken_the_known_ones_and_add_no_column():
    vocabulary = Vocabulary.of([ALIEN, ALIENS, LOVE])
    known, mixed = (Title("n", "N", keywords=keywords) for keywords in (("space",), ("space", "never seen before")))
    rows = vocabulary.features([known, mixed]).toarray()
    column = vocabulary.terms.index("keywords/space")
    assert rows.shape == (2, 4)
    assert rows[0, column] > rows[1, column] > 0


def test_a_vocabulary_survives_being_written():
    vocabulary = Vocabulary.of([ALIEN, ALIENS, LOVE])
    again = Vocabulary.from_bytes(vocabulary.to_bytes())
    assert again.to_bytes() == vocabulary.to_bytes()
    np.testing.assert_array_equal(again.features([ALIEN]).toarray(), vocabulary.features([ALIEN]).toarray())
    with pytest.raises(CorruptData):
        Vocabulary.from_bytes(b'{"titles": 3}')
