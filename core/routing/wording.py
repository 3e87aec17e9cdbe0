"""The words people use for genres, moods, kinds, times, languages and places; and how texts are compared."""

from __future__ import annotations

import re
import unicodedata

_JUNK = re.compile(r"[^a-z0-9]+")
_POSSESSIVE = re.compile(r"['’`](s?)\b")


def folded(text: str) -> str:
    """Lower case without accents and marks, words divided by one space: `Amélie's` and `amelies` become one."""
    plain = text.casefold().replace("&", " and ")
    if not plain.isascii():
        plain = "".join(letter for letter in unicodedata.normalize("NFKD", plain) if not unicodedata.combining(letter))
    return _JUNK.sub(" ", _POSSESSIVE.sub(r"\1", plain)).strip()


# Words for a genre itself. What only hints at one (heist, zombie, detective) is left to the search by meaning.
GENRES: dict[str, tuple[str, ...]] = {
    "action": ("action",),
    "adventure": ("adventure",),
    "animation": ("animation", "animated", "cartoon", "anime", "stop motion"),
    "biography": ("biography", "biopic", "biographical"),
    "comedy": ("comedy", "sitcom", "romcom", "rom com"),
    "crime": ("crime",),
    "documentary": ("documentary", "doc", "docuseries"),
    "drama": ("drama",),
    "family": ("family movie", "family film", "family show", "kids movie", "kids film", "kids show", "children s film"),
    "fantasy": ("fantasy",),
    "history": ("historical", "period drama", "costume drama"),
    "horror": ("horror", "slasher", "scary movie", "scary film"),
    "musical": ("musical",),
    "mystery": ("mystery", "whodunit"),
    "romance": ("romance", "romantic movie", "romantic film", "romantic comedy", "love story"),
    "science fiction": ("science fiction", "sci fi", "scifi"),
    "sport": ("sports movie", "sports film", "sports drama", "sports documentary"),
    "thriller": ("thriller",),
    "war": ("war movie", "war film", "war drama", "war series"),
    "western": ("western",),
}
ALSO: dict[str, tuple[str, ...]] = {
    "romcom": ("romance",),
    "rom com": ("romance",),
    "romantic comedy": ("comedy",),
    "period drama": ("drama",),
    "costume drama": ("drama",),
    "war drama": ("drama",),
    "sports drama": ("drama",),
    "sports documentary": ("documentary",),
}

# Which of the catalogue's moods somebody is after, with the phrases that say so. What they wish for outweighs how they
# feel, so the earlier ones win: "I'm sad, make me laugh" asks for happy titles.
MOODS: tuple[tuple[str, str], ...] = (
    ("happy", "cheer laugh funny happy uplifting feel-good feelgood lighthearted silly fun joy joyful cheerful smile"),
    ("happy", "hilarious wholesome heartwarming pick-me-up party"),
    ("relaxed", "relax relaxing calm calming cozy cosy soothing gentle unwind chill peaceful comfort comforting easy"),
    ("relaxed", "light sleep stressed tired exhausted anxious"),
    ("scared", "scare scared scary creepy spooky terrified goosebumps shivers frightening"),
    ("romantic", "romantic date-night love valentine sexy"),
    ("excited", "excited exciting adrenaline thrilling thrill tense intense gripping edge"),
    ("nostalgic", "nostalgic nostalgia childhood homesick"),
    ("curious", "curious think thoughtful thought-provoking inspired inspiring learn"),
    ("sad", "sad cry tears tearjerker tear-jerker heartbroken heartbreaking melancholy lonely grief grieving weep sob"),
    ("sad", "moving depressing blue bittersweet"),
)
MOOD_OF = {
    phrase.replace("-", " "): (place, mood) for place, (mood, cues) in enumerate(MOODS) for phrase in cues.split()
}

TYPES: dict[str, str] = {
    **dict.fromkeys(("movie", "movies", "film", "films", "flick", "flicks"), "movie"),
    **dict.fromkeys(("series", "show", "shows", "tv", "sitcom", "sitcoms", "miniseries", "docuseries"), "series"),
}
DECADES = {"twenties": 1920, "thirties": 1930, "forties": 1940, "fifties": 1950, "sixties": 1960} | {
    "seventies": 1970,
    "eighties": 1980,
    "nineties": 1990,
}
LANGUAGES: dict[str, str] = {
    "korean": "ko", "japanese": "ja", "french": "fr", "german": "de", "spanish": "es", "italian": "it", "danish": "da",
    "swedish": "sv", "norwegian": "no", "finnish": "fi", "icelandic": "is", "polish": "pl", "russian": "ru",
    "hindi": "hi", "bollywood": "hi", "chinese": "zh", "mandarin": "zh", "cantonese": "cn", "portuguese": "pt",
    "brazilian": "pt", "persian": "fa", "iranian": "fa", "turkish": "tr", "arabic": "ar", "hebrew": "he",
    "israeli": "he", "thai": "th", "dutch": "nl", "greek": "el", "hungarian": "hu", "czech": "cs", "anime": "ja",
}  # fmt: skip
NOT_A_LANGUAGE = {"subtitles", "subs", "subtitle", "audio", "dub", "dubbed", "version", "revolution", "expressionism"}
REGIONS: dict[str, str] = {
    "germany": "DE", "uk": "GB", "united kingdom": "GB", "britain": "GB", "england": "GB", "gb": "GB", "us": "US",
    "usa": "US", "states": "US", "america": "US", "united states": "US", "france": "FR", "japan": "JP",
    "brazil": "BR", "india": "IN", "spain": "ES", "italy": "IT", "canada": "CA", "australia": "AU", "mexico": "MX",
    "poland": "PL", "sweden": "SE", "denmark": "DK", "norway": "NO", "finland": "FI", "austria": "AT",
    "switzerland": "CH", "netherlands": "NL", "korea": "KR", "ireland": "IE", "portugal": "PT",
}  # fmt: skip
REGION_CUES = {"in", "available", "for", "from", "the"}  # a country is a region only after one of these

# Words after which a title is meant even if it is made of everyday words: "like heat", "where can i watch up".
TITLE_CUES = frozenset(
    phrase
    for phrases in (
        "like to as than of and akin comparable lookalike resemble resembles resembling between from since after",
        "watch watching watched stream streaming streams see seen saw show shows rewatched play rent buy download",
        "is are has have got get carry offer find miss availability where",
        "love loved liked enjoy enjoyed finish finished finishing adore adored",
        "film movie series titled called",
    )
    for phrase in phrases.split()
)
BEFORE_CUE = {
    "the",
    "a",
    "an",
    "old",
    "new",
    "movie",
    "film",
    "show",
    "series",
    "tv",
    "anime",
    "that",
    "my",
    "watching",
}
# Words that, right after it, say the same of a title at the start: "up streaming", "heat on kinova".
AFTER_CUES = {
    "streaming",
    "stream",
    "online",
    "on",
    "available",
    "availability",
    "where",
    "rent",
    "free",
    "which",
    "is",
}

OWN_SERVICES = tuple(
    f"{whose} {what}"
    for whose in ("my", "our", "any of my")
    for what in ("service", "services", "platform", "platforms", "subscription", "subscriptions", "plan", "apps")
)
NEGATIONS = {"no", "not", "without", "except", "nothing", "but not", "isn t"}
