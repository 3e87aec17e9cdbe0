"""What a text was taken for, in the callers' words."""

from __future__ import annotations

from core.api.answers import rfc3339
from core.api.router_schemas import EntitiesOut, NamedRouteOut, OfferOut, RoutingOut
from core.flows.route import Routed
from core.routing.router import Routing

MAX_OFFERS = 50  # of the titles that are asked about


def entities_out(routed: Routed) -> EntitiesOut:
    """Entities with content ids instead of rows, which mean nothing outside a snapshot."""
    snapshot, entities = routed.snapshot, routed.entities
    said = entities.phrases
    return {
        "titles": [
            {"mention": mention.name, "content_ids": [snapshot.content_id(row) for row in mention.rows]}
            for mention in entities.titles
            if snapshot is not None
        ],
        "people": [person.name for person in entities.people],
        "genres": said.genres,
        "exclude_genres": said.exclude_genres,
        "services": entities.services,
        "own_services": said.own_services,
        "regions": said.regions,
        "languages": said.languages,
        "types": said.types,
        "year_min": said.year_min,
        "year_max": said.year_max,
        "mood": said.mood,
    }


def named_routes(routing: Routing) -> list[NamedRouteOut]:
    """All routes that have a part in it, the leading one first."""
    return [{"route_name": name, "confidence": chance} for name, chance in routing.routes]


def routing_out(routed: Routed, now: float) -> RoutingOut:
    """What a recommendation says about the text that it answers."""
    routing = routed.routing
    return {
        "route_name": routing.route,
        "confidence": routing.confidence,
        "routes": named_routes(routing),
        "entities": entities_out(routed),
        "availability": offers(routed, now) if routing.route == "availability_check" else [],
    }


def offers(routed: Routed, now: float) -> list[OfferOut]:
    """Where the titles that a text names can be watched at `now`, in the region it names, if it does."""
    snapshot, regions, found = routed.snapshot, routed.entities.phrases.regions, []
    if snapshot is None:
        return []
    words = snapshot.vocabulary
    for row in dict.fromkeys(row for mention in routed.entities.titles for row in mention.rows):
        for offer in snapshot.availability_of(row):
            region = words.regions[offer["region"]]
            if offer["added_at"] <= now < offer["expires_at"] and (not regions or region in regions):
                ends = None if offer["expires_at"] == float("inf") else rfc3339(float(offer["expires_at"]))
                service = words.services[offer["service"]]
                found.append(
                    OfferOut(content_id=snapshot.content_id(row), service=service, region=region, expires_at=ends)
                )
    return found[:MAX_OFFERS]
