"""What the router is trained on: sentences written by hand for each route, and templates over a catalogue.

`sentences/<route>.txt` holds one sentence a line; `mixed.txt` and `templates.txt` hold `route+route|sentence`, the
route that leads first. All were written for this project; none is in the test set.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np

from core.catalog import Title
from core.routing.routes import CLASSES
from core.routing.wording import folded

FOLDER = Path(__file__).parent / "sentences"
REGIONS = ("germany", "the uk", "france", "the us", "japan", "brazil", "india", "spain", "canada", "italy")
FOREIGN_SERVICES = ("netflix", "prime video", "disney+", "hulu", "hbo", "apple tv", "mubi")  # people name these anyway
EVERYDAY_USES = 3  # sentences that use a word of every day
_FIELD = re.compile(r"\{(\w+)\}")


@dataclass(frozen=True, slots=True)
class Sentence:
    """`routes`: what it asks for, the leading route first; out of domain stands alone."""

    text: str
    routes: tuple[str, ...]


def hand_written() -> list[Sentence]:
    """Every sentence that somebody wrote out, of one route and of several."""
    single = [Sentence(text, (route,)) for route in CLASSES for text in _lines(f"{route}.txt")]
    return single + [_labelled(line) for line in _lines("mixed.txt")]


def from_templates(titles: Sequence[Title], rng: np.random.Generator, per_template: int) -> list[Sentence]:
    """Each template filled `per_template` times with facts of the catalogue; repetitions are dropped."""
    facts = _facts(titles)

    def draw(field: re.Match[str]) -> str:
        values = facts[field.group(1)]
        return values[int(rng.integers(len(values)))]

    found: dict[str, Sentence] = {}
    for template in (_labelled(line) for line in _lines("templates.txt")):
        times = per_template if _FIELD.search(template.text) else 1
        for _ in range(times):
            text = _FIELD.sub(draw, template.text)
            text = text if rng.random() < 0.4 else text.lower()
            found.setdefault(text, Sentence(text, template.routes))
    return list(found.values())


@cache
def everyday_words() -> frozenset[str]:
    """Folded words that several sentences use which hardly name anything: as a title, each needs more than itself."""
    files = (f"{route}.txt" for route in CLASSES if route not in ("gnn_similarity", "availability_check"))
    uses = Counter(word for name in files for line in _lines(name) for word in set(folded(line).split()))
    return frozenset(word for word, count in uses.items() if count >= EVERYDAY_USES)


def with_slips(text: str, rng: np.random.Generator) -> str:
    """The text as somebody in a hurry types it: one or two letters swapped, lost or doubled, or the end mark gone."""
    for _ in range(int(rng.integers(1, 3))):
        letters = [place for place in range(1, len(text) - 1) if text[place].isalpha() and text[place + 1].isalpha()]
        if not letters:
            return text
        place = letters[int(rng.integers(len(letters)))]
        text = _SLIPS[int(rng.integers(len(_SLIPS)))](text, place)
    return text


_SLIPS: tuple[Callable[[str, int], str], ...] = (
    lambda text, place: text[:place] + text[place + 1] + text[place] + text[place + 2 :],
    lambda text, place: text[:place] + text[place + 1 :],
    lambda text, place: text[:place] + text[place] + text[place:],
)


def _lines(name: str) -> list[str]:
    return [line for line in (FOLDER / name).read_text(encoding="utf-8").splitlines() if line.strip()]


def _labelled(line: str) -> Sentence:
    routes, text = line.split("|", 1)
    return Sentence(text, tuple(routes.split("+")))


def _facts(titles: Sequence[Title]) -> dict[str, list[str]]:
    """What the fields of templates stand for, in a stable order."""
    years = sorted({title.year for title in titles if title.year})
    people = {name for title in titles for name in (*title.cast[:2], *title.directors, *title.creators)}
    services = {entry.service for title in titles for entry in title.availability}
    return {
        "title": sorted({title.title for title in titles if title.type != "episode"}),
        "person": sorted(people),
        "genre": sorted({genre for title in titles for genre in title.genres}),
        "keyword": sorted({keyword for title in titles for keyword in title.keywords}),
        "service": sorted(services) * 2 + list(FOREIGN_SERVICES),
        "region": list(REGIONS),
        "year": [str(year) for year in years],
        "decade": [*sorted({f"{year // 10 * 10}s" for year in years}), "sixties", "seventies", "eighties", "nineties"],
    }
