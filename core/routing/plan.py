"""What a route changes in a recommendation: pure functions from routing and entities to the request that is served."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace

from core.candidates.company import MOOD_GENRES
from core.ranking.query import Filters, Query
from core.routing.entities import Entities, TitleMention
from core.routing.router import Routing
from core.routing.routes import OUT_OF_DOMAIN

UNSURE = 0.5  # below this confidence a text is searched for as it stands, whatever the route
SURELY_FOREIGN = 0.7  # from this confidence on, what is no query for titles is not searched for either
MOST_ANCHORS = 4  # titles that others shall be like
LEAVING = ("leav", "expir", "last chance", "disappear", "remove", "going away", "gone", "ending soon", "about to")
DEFAULT_TYPES = Filters().types

# Share of what was asked for in the ranking; the viewer's taste has the rest.
SEARCH_SHARE: dict[str, float | None] = {
    "gnn_similarity": 0.7,
    "vector_search": None,  # as configured for every search
    "mood_matching": 0.3,
    "catalog_freshness": 0.4,
    "availability_check": 0.8,
    "personalized_hybrid": 0.0,
}


@dataclass(frozen=True, slots=True)
class Plan:
    """How a query in words is answered. `query`: the request with the filters and the context that the words add; its
    text is None unless titles are searched by it.

    like: rows that the answer shall resemble; named: rows that are asked about, and the only ones answered; by: rows of
    the titles of the people named (None: nobody is); fresh: "new", "leaving" or None; share: of all this against the
    viewer's taste (None: as configured); weaker: filters for when those of the words leave nothing, the caller's own
    at last; genres: that the words name, all of which a title should have.
    """

    query: Query
    routes: tuple[str, ...] = ()
    like: tuple[int, ...] = ()
    named: tuple[int, ...] = ()
    by: tuple[int, ...] | None = None
    fresh: str | None = None
    share: float | None = None
    weaker: tuple[Filters, ...] = ()
    genres: tuple[str, ...] = ()


def with_entities(routing: Routing, entities: Entities) -> Routing:
    """The routing with the routes that what is named asks for by itself: a genre, a person, a language or a time is a
    search for what titles are; a platform, or the viewer's own, is a question of availability."""
    if routing.route == OUT_OF_DOMAIN:
        return routing
    said, present = entities.phrases, {name for name, _ in routing.routes}
    implied = {
        "vector_search": bool(entities.people or said.genres or said.languages or said.year_min or said.year_max),
        "availability_check": bool(entities.services or said.own_services),
    }
    added = [(name, routing.parts[name]) for name, wanted in implied.items() if wanted and name not in present]
    return replace(routing, routes=(*routing.routes, *added))


def plan(query: Query, routing: Routing, entities: Entities) -> Plan:
    """The plan for `query`, whose text was routed. Filters that the caller set stay as they are."""
    routes = tuple(name for name, _ in routing.routes)
    if routing.route == OUT_OF_DOMAIN and routing.confidence >= SURELY_FOREIGN:
        return Plan(replace(query, text=None))
    sure = routing.confidence >= UNSURE and routing.route != OUT_OF_DOMAIN
    lead = routing.route if sure and not entities.via else "vector_search"
    like = _anchors(entities) if "gnn_similarity" in routes and not entities.via else ()
    named = _named(entities) if lead == "availability_check" else ()
    fresh = _freshness(query.text or "") if "catalog_freshness" in routes else None
    mood = entities.phrases.mood if "mood_matching" in routes else None
    by = tuple(row for person in entities.people for row in person.rows) if entities.people else None
    filters = _filters(query.filters, entities, mood, bool(named), query.context.region)
    searched = lead in ("vector_search", "mood_matching") or (lead == "gnn_similarity" and not like)
    return Plan(
        query=replace(
            query,
            text=query.text if searched and by is None else None,
            filters=filters,
            context=replace(query.context, mood=query.context.mood or mood),
            exclude_seen=query.exclude_seen and not named,
        ),
        routes=(lead, *(name for name in routes if name != lead)),
        like=like,
        named=named,
        by=None if named or like else by,
        fresh=fresh,
        weaker=_weaker(query.filters, filters),
        genres=() if named else entities.phrases.genres,
        share=SEARCH_SHARE["gnn_similarity" if like and lead != "availability_check" else lead],
    )


def _anchors(entities: Entities) -> tuple[int, ...]:
    return entities.rows()[:MOST_ANCHORS]


def _named(entities: Entities) -> tuple[int, ...]:
    mentions: tuple[TitleMention, ...] = entities.titles
    return tuple(dict.fromkeys(row for mention in mentions for row in mention.rows))


def _freshness(text: str) -> str:
    lowered = text.lower()
    return "leaving" if any(cue in lowered for cue in LEAVING) else "new"


def _filters(given: Filters, entities: Entities, mood: str | None, named: bool, region: str | None) -> Filters:
    """The caller's filters with what the words add where the caller said nothing."""
    said = entities.phrases
    if named:  # the answer is about these titles: whether they are on a platform is told, not presupposed
        return replace(given, types=("movie", "series", "episode") if given.types == DEFAULT_TYPES else given.types)
    genres = said.genres or tuple(
        genre for genre in MOOD_GENRES.get(mood or "", ()) if genre not in said.exclude_genres
    )
    here = (said.regions[0] if said.regions else region) if (entities.services or said.own_services) else None
    return replace(
        given,
        types=said.types if said.types and given.types == DEFAULT_TYPES else given.types,
        genres=given.genres or genres,
        exclude_genres=given.exclude_genres or said.exclude_genres,
        languages=given.languages or said.languages,
        year_min=given.year_min if given.year_min is not None else said.year_min,
        year_max=given.year_max if given.year_max is not None else said.year_max,
        services=given.services or entities.services,
        region=given.region or here,
        own_platforms=given.own_platforms or (said.own_services and not (given.services or entities.services)),
    )


def given_up(wanted: Filters, kept: Filters) -> tuple[str, ...]:
    """Names of the wanted filters that an answer does without."""
    return tuple(field.name for field in fields(Filters) if getattr(wanted, field.name) != getattr(kept, field.name))


def _weaker(given: Filters, wanted: Filters) -> tuple[Filters, ...]:
    """What of the wanted filters is given up, step by step: where a title is, then where and when it comes from."""
    anywhere = replace(wanted, services=given.services, region=given.region, own_platforms=given.own_platforms)
    of_any_origin = replace(anywhere, languages=given.languages, year_min=given.year_min, year_max=given.year_max)
    steps = dict.fromkeys((anywhere, of_any_origin, given))
    return tuple(step for step in steps if step != wanted)
