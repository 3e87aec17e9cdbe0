"""Which path of which function leads to which flow."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache
from importlib.metadata import version
from typing import Annotated, Any

from pydantic import Discriminator, Tag, TypeAdapter

from core.api import answers
from core.api.auth import Headers, authenticate_push, is_service
from core.api.events import Delivery, message_in, open_delivery
from core.api.experiment_schemas import parse_observations
from core.api.http import ANY_PATH, ANYBODY, Call, Route, anyone
from core.api.recommend_schemas import BatchBody, RecommendBody, SimilarBody
from core.api.routing_answers import routing_out
from core.api.schemas import (
    InteractionBody,
    InteractionsBody,
    OnboardingBody,
    ProfileBody,
    ScoreBody,
    SearchBody,
)
from core.config import Settings
from core.errors import Forbidden, SonaError, StoreUnavailable
from core.flows.collect import collect
from core.flows.ingest import ingest
from core.flows.personalize_search import personalize_search
from core.flows.profiles import update_profile
from core.flows.recommend import Answer, compose, recommend
from core.flows.score import score
from core.flows.services import Services
from core.flows.similar import SimilarTitle, similar
from core.flows.ways import titles_along
from core.ranking.query import Context, Filters, Query
from core.telemetry import count, measure

TTL_S = 300  # how long a client may show an answer again; the viewer's own next event outdates it sooner
PROBE_AGAIN_S = 1.0
PROBE_USER = "-"  # nobody's id: asking for it asks whether the store answers


def answer_recommend(call: Call) -> answers.RecommendOut:
    """What one user should watch now. Pins and promotions are for services: they are the platform's decisions, and
    somebody's own token must not turn them off or on."""
    if call.body.editorial and not is_service(call.identity, call.services.settings.auth):
        raise Forbidden("pins and promotions are for services")
    return recommendations(recommend(call.services, call.body.query(call.user(), call.now), call.now))


def answer_batch(call: Call) -> answers.BatchOut:
    """For services: what many users would get now. Nothing counts as shown."""
    if not is_service(call.identity, call.services.settings.auth):
        raise Forbidden("many users at once are for services")
    composed = [compose(call.services, query, call.now) for query in call.body.queries()]
    return {"answers": [{"user_id": answer.user_id, **recommendations(answer)} for answer in composed]}


def recommendations(answer: Answer) -> answers.RecommendOut:
    """The flow's answer in the callers' words."""
    told: answers.RecommendOut = {
        "recommendations": [
            {
                "content_id": item.content_id,
                "title": item.title,
                "confidence_score": item.score,
                "recommendation_type": item.strategy,
                "based_on": item.based_on,
                "explanation": item.explanation,
                "score_parts": item.parts,
                "pattern_id": item.pattern_id,
            }
            for item in answer.items
        ],
        "request_id": answer.request_id,
        "generated_at": answers.rfc3339(answer.generated_at),
        "ttl_seconds": TTL_S,
        "snapshot": answer.snapshot,
        "experiments": dict(answer.variants),
        "degraded": answer.degraded,
        "known_events": answer.known_events,
        "weights": {name: round(weight, 6) for name, weight in answer.weights.items()},
    }
    if answer.routed is not None:
        told["routing"] = routing_out(answer.routed, answer.generated_at)
    if answer.given_up:
        told["given_up"] = tuple("on_my_platforms" if name == "own_platforms" else name for name in answer.given_up)
    return told


def answer_similar(call: Call) -> answers.SimilarOut:
    """Titles like one title, or, with `via`, those that people and franchises link to it."""
    body: SimilarBody = call.body
    filters = body.filters.filters() if body.filters else Filters()
    asked = (call.services, body.content_id, body.limit, filters)
    titles, degraded = titles_along(*asked, body.via, body.hops, call.now) if body.via else similar(*asked, call.now)
    return {"similar_content": [similar_title(item) for item in titles], "degraded": degraded}


def similar_title(item: SimilarTitle) -> answers.SimilarTitleOut:
    """The flow's title in the callers' words, with its path where ways were asked for."""
    told: answers.SimilarTitleOut = {
        "content_id": item.content_id,
        "title": item.title,
        "score": item.score,
        "relation": item.relation,
    }
    if item.way:
        told["path"] = [{"via": step.kind, "name": step.name, "content_id": step.content_id} for step in item.way]
    return told


def answer_score(call: Call) -> answers.UserScoreOut | answers.UserScoresOut:
    """How much a user would like one title or several, and by which parts. Unknown titles are a 404."""
    body: ScoreBody = call.body
    user_id = call.user()
    context = body.context.context() if body.context else Context()
    asked = (body.content_id,) if body.content_id is not None else tuple(body.content_ids or ())
    scores, degraded = score(call.services, Query(user_id, context=context), asked, call.now)
    found: list[answers.ScoreOut] = [
        {"content_id": item.content_id, "score": item.score, "components": item.components} for item in scores
    ]
    if body.content_id is not None:
        return {"user_id": user_id, **found[0], "degraded": degraded}
    return {"user_id": user_id, "scores": found, "degraded": degraded}


def answer_search(call: Call) -> answers.SearchOut:
    """A search engine's results in one user's order, personal by as much as a variant or the body says."""
    body: SearchBody = call.body
    user_id = call.user()
    query = Query(user_id, context=body.context.context() if body.context else Context())
    found = personalize_search(call.services, query, body.found(), call.now, body.experiment_variant, body.boost_weight)
    return {
        "user_id": user_id,
        "results": [
            {
                "content_id": item.content_id,
                "score": round(item.score, 6),
                "original_score": item.relevance,
                "personal_score": item.personal,
            }
            for item in found.results
        ],
        "weight": found.weight,
        "experiments": dict(found.variants),
        "degraded": found.degraded,
    }


def answer_collect(call: Call) -> answers.AcceptedOut:
    """Hand in what a user did: one event or several. The answer comes when Pub/Sub has them; then nothing is lost."""
    body: InteractionBody | InteractionsBody = call.body
    user_id = call.user()
    given = body.interactions if isinstance(body, InteractionsBody) else [body]
    events = [call.heard(fields.event(user_id, call.now, call.now)) for fields in given]
    collect(call.services, user_id, events)
    return {"status": "accepted", "accepted": len(events), "event_ids": [event.event_id for event in events]}


def answer_onboarding(call: Call) -> answers.AcceptedOut:
    """What a new user says about themselves; a later onboarding replaces an earlier one."""
    user_id = call.user()
    event = call.body.event(user_id, call.now, call.now)
    collect(call.services, user_id, [event])
    return {"status": "accepted", "accepted": 1, "event_ids": [event.event_id]}


def answer_profile(call: Call) -> answers.ProfileOut:
    """Hand in a user's viewings from another system; they are told as events."""
    user_id = call.user()
    viewings = [fields.viewing(call.now) for fields in call.body.viewing_events]
    update_profile(call.services, user_id, viewings)
    return {
        "status": "accepted",
        "user_id": user_id,
        "events_processed": len(viewings),
        "preference_vector_dim": _vector_dims(call.services, call.now),
    }


def answer_ingest(call: Call) -> answers.IngestedOut:
    """One message of the topic `interactions`. What cannot be read is kept with its reason and acknowledged."""
    delivery = open_delivery(call.body, call.now)
    measure("sona.queue.age", max(call.now - delivery.published_at, 0.0), queue="interactions")
    done = ingest(call.services, message_in(delivery, call.now), call.now)
    observe(call.services, delivery, call.now)
    for outcome, number in (("stored", done.stored), ("known", done.known), ("rejected", done.rejected)):
        count("sona.events", number, outcome=outcome)
    return {"status": "ingested", "stored": done.stored, "known": done.known, "rejected": done.rejected}


def observe(services: Services, delivery: Delivery, now: float) -> None:
    """Keep what the delivery says about experiments; what cannot be read is kept with its reason."""
    if delivery.data is None:
        return
    seen, problem = parse_observations(delivery.data, now)
    if problem:
        services.log.reject(problem, delivery.data, delivery.message_id)
    if seen is not None:
        services.observations.record(seen)


def _vector_dims(services: Services, now: float) -> int:
    """Dimension of the profile vector, which is computed from the snapshot when needed; 0 while there is none."""
    try:
        return int(services.snapshot(now)[0].vectors.shape[1])
    except StoreUnavailable:
        return 0


def pushed_by_broker(headers: Headers, settings: Settings) -> Any:
    """The caller of a push endpoint. Raises Unauthenticated for anybody but Pub/Sub."""
    authenticate_push(headers, settings)
    return ANYBODY


Probe = Callable[[Services, float], object]


def hot_store_probe(services: Services, now: float) -> object:
    """Whether Valkey answers. Raises StoreUnavailable."""
    return services.popularity.filled()


def cold_store_probe(services: Services, now: float) -> object:
    """Whether Cloud SQL answers. Raises StoreUnavailable."""
    return services.log.load_state(PROBE_USER)


def snapshot_probe(services: Services, now: float) -> object:
    """The version in use. Raises StoreUnavailable while there is none."""
    return services.snapshot(now)[0].version


@cache
def _version() -> str:
    return version("sona")


def health(service: str, probes: Mapping[str, Probe]) -> Route:
    """GET /health of a function: always 200, because a restart repairs no store; what does not answer is named.

    Anybody may ask, so the stores are asked once in PROBE_AGAIN_S.
    """
    told: tuple[Services | None, float, dict[str, str]] = (None, 0.0, {})

    def answer(call: Call) -> Mapping[str, Any]:
        """Whether the function and what it needs work; always 200, and `degraded` when something does not."""
        nonlocal told
        asked, at, states = told
        if asked is not call.services or not 0.0 <= call.now - at < PROBE_AGAIN_S:
            states = {name: _state(probe, call) for name, probe in probes.items()}
            told = (call.services, call.now, states)
        status = "degraded" if "unavailable" in states.values() else "ok"
        return {"status": status, "service": service, "version": _version(), **states}

    return Route(answer, caller=anyone)


def _state(probe: Probe, call: Call) -> str:
    try:
        found = probe(call.services, call.now)
    except SonaError:
        return "unavailable"
    return found if isinstance(found, str) else "ok"


def _form(value: Any) -> str:
    many = isinstance(value, InteractionsBody) or (isinstance(value, Mapping) and "interactions" in value)
    return "several" if many else "one"


INTERACTIONS: TypeAdapter[Any] = TypeAdapter(
    Annotated[
        Annotated[InteractionsBody, Tag("several")] | Annotated[InteractionBody, Tag("one")], Discriminator(_form)
    ]
)

RECOMMEND_ROUTES = {
    "/api/v1/recommendations": {"POST": Route(answer_recommend, TypeAdapter(RecommendBody))},
    "/api/v1/recommendations/batch": {"POST": Route(answer_batch, TypeAdapter(BatchBody))},
    "/api/v1/recommendations/similar": {"POST": Route(answer_similar, TypeAdapter(SimilarBody))},
    "/api/v1/personalization/score": {"POST": Route(answer_score, TypeAdapter(ScoreBody))},
    "/api/v1/search/personalize": {"POST": Route(answer_search, TypeAdapter(SearchBody))},
    "/health": {
        "GET": health(
            "recommend", {"snapshot": snapshot_probe, "hot_store": hot_store_probe, "cold_store": cold_store_probe}
        )
    },
}
COLLECT_ROUTES = {
    "/api/v1/interactions": {"POST": Route(answer_collect, INTERACTIONS, 202, limit="write")},
    "/health": {"GET": health("collect", {})},
}
PROFILE_ROUTES = {
    "/api/v1/profile/update": {"POST": Route(answer_profile, TypeAdapter(ProfileBody), 202, limit="write")},
    "/api/v1/profile/onboarding": {"POST": Route(answer_onboarding, TypeAdapter(OnboardingBody), 202, limit="write")},
    "/health": {"GET": health("profiles", {})},
}
INGEST_ROUTES = {
    "/health": {"GET": health("ingest", {"cold_store": cold_store_probe, "hot_store": hot_store_probe})},
    ANY_PATH: {"POST": Route(answer_ingest, caller=pushed_by_broker)},  # the subscription chooses its path
}
