import numpy as np
import pytest

from core.catalog import Title
from core.snapshot.lexicon import build_lexicon, tokens

TITLES = [
    Title("seven", "Se7en", keywords=("serial killer", "detective"), cast=("Brad Pitt", "Morgan Freeman")),
    Title("her", "Her", keywords=("love", "computer"), overview="A writer falls in love with a voice."),
    Title("amelie", "Amélie", cast=("Audrey Tautou",), overview="A waitress in Paris helps the people around her."),
    Title("space", "2001: A Space Odyssey", year=1968, keywords=("space", "computer"), directors=("Stanley Kubrick",)),
    Title("lonely", "Lonely in Space", overview="A very long story about space " + "and nothing much else " * 30),
]


def best(text: str) -> list[str]:
    scores = build_lexicon(TITLES).scores(text, len(TITLES))
    return [TITLES[row].content_id for row in np.argsort(-scores, kind="stable") if scores[row] > 0]


@pytest.mark.parametrize(
    ("text", "first"),
    [
        ("brad pitt", "seven"),
        ("Kubrick", "space"),
        ("amelie", "amelie"),
        ("AMÉLIE!", "amelie"),
        ("2001", "space"),
        ("her", "her"),
        ("serial killers", "seven"),
        ("detective's", "seven"),
    ],
)
def test_names_people_and_keywords_are_found_as_people_write_them(text: str, first: str) -> None:
    assert best(text)[0] == first


def test_a_name_weighs_more_than_a_mention_and_a_short_text_more_than_a_long_one() -> None:
    assert best("space") == ["space", "lonely"]
    assert best("her") == ["her", "amelie"]


def test_a_title_is_complete_with_every_word_in_whatever_field() -> None:
    lexicon = build_lexicon(TITLES)
    assert lexicon.match("space computer", 5)[1].tolist() == [False, False, False, True, False]
    assert lexicon.match("space Kubrick 1968", 5)[1].tolist() == [False, False, False, True, False]
    assert not lexicon.match("space zzz", 5)[1].any()


def test_rare_words_decide() -> None:
    assert best("a computer in love")[0] == "her"


@pytest.mark.parametrize("text", ["", "zzz", "?!", "spaceship"])
def test_what_no_title_says_finds_nothing(text: str) -> None:
    assert best(text) == []


def test_repeating_a_word_changes_nothing() -> None:
    lexicon = build_lexicon(TITLES)
    np.testing.assert_array_equal(lexicon.scores("space space", 5), lexicon.scores("space", 5))


def test_scores_are_those_of_the_formula() -> None:
    """One field, one term: f / (1.2 + f) with f = 3 x 1 / (1 - .3 + .3 x 1), times ln(1 + (2 - 1 + .5) / (1 + .5))."""
    titles = [Title("a", "Heat"), Title("b", "Rain")]
    scores = build_lexicon(titles).scores("heat", 2)
    assert scores == pytest.approx([np.log(2.0) * 3 / 4.2, 0.0], rel=1e-3)


def test_words_are_split_and_stemmed() -> None:
    assert tokens("The Sisters' glass—1917, naïve") == ["the", "sister", "glass", "1917", "naive"]
