"""People whom a query names by what they made: "the director of Parasite" is two hops, to a person and on to titles."""

from __future__ import annotations

import re

from core.catalog import Title

MOST_PLAYERS = 3  # of a cast, the leading ones
_MAKERS = r"directors?|filmmakers?|creators?|showrunners?|makers?|writers?|people|team"
_PLAYERS = r"actors?|actress(?:es)?|cast|stars?|leads?|leading (?:man|woman)"
_MADE = r"(?:who|whoever|that|man|woman|team|people) (?:directed|made|created|wrote)"
_STARRED = r"(?:who|whoever|that|man|woman|guy|girl) (?:stars?|starred|plays?|played|acted|was|is) in"


def behind(text: str, name: str) -> str | None:
    """ "makers" or "players", when the folded `text` speaks of those of the title with the folded `name`."""
    title = rf"(?:the |a |an )?{re.escape(name)}\b"
    for role, nouns, verbs in (("makers", _MAKERS, _MADE), ("players", _PLAYERS, _STARRED)):
        if re.search(rf"\b(?:(?:{nouns})(?: \w+)? (?:of|from|in|behind|for)|{verbs}) {title}", text):
            return role
    return None


def people_of(title: Title, role: str) -> tuple[str, ...]:
    """Names, the leading ones first."""
    if role == "players":
        return title.cast[:MOST_PLAYERS]
    return tuple(dict.fromkeys((*title.directors, *title.creators)))
