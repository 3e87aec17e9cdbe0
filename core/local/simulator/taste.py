"""What a simulated viewer likes: a mixture of archetypes, personal favourites and a title's own quality.

    score(viewer, title) = sum_a share_a * 3 tanh(raw_a(title) / 3) + sum of matching favourites + acclaim(title)

raw_a adds 1 for every feature of the title that archetype a loves, 0.5 for one it likes and -0.6 for one it avoids;
tanh saturates, so that the sixth loved keyword adds little. A viewer's utility is the score in standard deviations
above the mean of the viewer's own scores over the catalogue: 0 is an average title, 2 a favourite.
"""

from __future__ import annotations

import math
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from statistics import NormalDist
from typing import Any

from core.catalog import Title, content_key

LOVES, LIKES, AVOIDS = 1.0, 0.5, -0.6
SATURATION = 3.0
ACCLAIM_SD, CANON_ACCLAIM = 0.3, 0.3  # good films please everybody a little, and the canon is a canon for a reason


@dataclass(frozen=True, slots=True)
class Archetype:
    """A recognisable taste; `weights` are per feature (`title_features`)."""

    name: str
    weights: Mapping[str, float]
    share: float
    mainstream: float
    ages: tuple[str, ...]
    regions: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Taste:
    """A mixture of archetypes by name (shares sum to 1) and personal weights per feature."""

    mixture: tuple[tuple[str, float], ...]
    favourites: tuple[tuple[str, float], ...] = ()

    def share(self, archetype: str) -> float:
        """0 for an archetype that is not in the mixture."""
        return dict(self.mixture).get(archetype, 0.0)


def read_toml(name: str) -> dict[str, Any]:
    """A data file beside this module."""
    return tomllib.loads(files(__package__).joinpath(name).read_text(encoding="utf-8"))


@cache
def archetypes() -> Mapping[str, Archetype]:
    """All archetypes by name, in the order of archetypes.toml."""
    return {name: _archetype(name, row) for name, row in read_toml("archetypes.toml").items()}


def _archetype(name: str, row: Mapping[str, Any]) -> Archetype:
    weights = dict.fromkeys(row["avoids"], AVOIDS) | dict.fromkeys(row["likes"], LIKES)
    return Archetype(
        name=name,
        weights=weights | dict.fromkeys(row["loves"], LOVES),
        share=float(row["share"]),
        mainstream=float(row["mainstream"]),
        ages=tuple(row["ages"]),
        regions=tuple(row["regions"]),
    )


@cache
def fame() -> Mapping[str, float]:
    """Prior fame of known content ids: 2 household name, 1 canon."""
    table = read_toml("fame.toml")
    return dict.fromkeys(table["canon"], 1.0) | dict.fromkeys(table["household"], 2.0)


def title_features(title: Title) -> tuple[str, ...]:
    """Everything about a title that a taste can name, each once: "genre:horror", "decade:1970", "language:fa"."""
    features = [f"genre:{genre}" for genre in title.genres] + [f"keyword:{word}" for word in title.keywords]
    features += [f"person:{name}" for name in (*title.directors, *title.creators, *title.cast)]
    features.append(f"type:{'series' if title.type == 'episode' else title.type}")
    if title.year is not None:
        features.append(f"decade:{title.year // 10 * 10}")
    for kind, value in (("language", title.language), ("country", title.country), ("franchise", title.franchise)):
        if value:
            features.append(f"{kind}:{value}")
    return tuple(dict.fromkeys(features))


def stable_normal(name: str) -> float:
    """A standard normal deviate that depends on the name alone, the same on every machine."""
    return NormalDist().inv_cdf((content_key(name) + 0.5) / 2.0**64)


def acclaim(content_id: str) -> float:
    """A title's quality, the same for every viewer."""
    return ACCLAIM_SD * stable_normal(content_id + "/acclaim") + CANON_ACCLAIM * (content_id in fame())


def score(taste: Taste, features: Iterable[str], content_id: str) -> float:
    """The formula of this module for one title; `screen.Screen.scores` is the same for all titles at once."""
    known = archetypes()
    features = tuple(features)
    total = acclaim(content_id)
    for name, share in taste.mixture:
        raw = sum(known[name].weights.get(feature, 0.0) for feature in features)
        total += share * SATURATION * math.tanh(raw / SATURATION)
    favourites = dict(taste.favourites)
    return total + sum(favourites.get(feature, 0.0) for feature in features)
