"""An answer is given again only while it is what would be composed anew, and to nobody else."""

import json
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import redis

from core.catalog import Availability, Title
from core.config import PrivacySettings, RankingSettings, Settings, StoreSettings
from core.flows.ingest import Message, ingest
from core.flows.privacy import erase_user
from core.flows.recommend import Answer, compose, recommend
from core.flows.services import Services
from core.interaction import Interaction, InteractionType, Onboarding
from core.ranking.query import Context, Filters, Query
from core.snapshot.build import build
from core.snapshot.inputs import collect_interactions
from core.snapshot.publish import activate, publish
from core.stores.gcs import ensure_bucket
from core.stores.pubsub_admin import ensure_topic
from core.wiring import services_for

NOW = float(int(time.time()) // 86_400 * 86_400 + 40_000)  # not near the end of a part of the day
TTL_S = 60.0
GENRES = ("drama", "comedy", "crime")
LEAVES_AT = NOW + 30.0


def title(number: int) -> Title:
    offer = Availability("kinoplus", "DE", 0.0, LEAVES_AT if number == 3 else None)
    return Title(
        f"title-{number}", f"Title {number}", "movie", 2000, genres=(GENRES[number % 3],), availability=(offer,)
    )


@pytest.fixture
def serving(
    postgres_dsn: str, valkey_url: str, gcs_endpoint: str, pubsub_endpoint: str, tmp_path: Path, user: str
) -> Services:
    stores = StoreSettings(
        sql_dsn=postgres_dsn,
        redis_url=valkey_url,
        storage_endpoint=gcs_endpoint,
        pubsub_endpoint=pubsub_endpoint,
        snapshots_bucket=f"snapshots-{user}",
        interactions_topic=user,
    )
    ranking = RankingSettings(exploration_share=0.0)
    privacy = PrivacySettings(keys="a key that is long enough to be one and for tests only")
    cache = str(tmp_path / "cache")
    settings = Settings("laptop", cache_dir=cache, answer_ttl_s=TTL_S, stores=stores, ranking=ranking, privacy=privacy)
    ensure_bucket(stores)
    services = services_for(settings)
    titles = [title(number) for number in range(12)]
    activate(
        services.bucket, publish(build(titles, collect_interactions([]), NOW, tmp_path / "built"), services.bucket)
    )
    redis.Redis.from_url(valkey_url).delete("rec:{anyone}")
    return services


@pytest.fixture
def watched(serving: Services) -> Callable[..., None]:
    def watch(user: str, *content_ids: str) -> None:
        events = tuple(
            Interaction(f"{user}-{name}", user, name, InteractionType.WATCH_COMPLETE, NOW - 100) for name in content_ids
        )
        ingest(serving, Message(f"{user}-{content_ids}", user, events), NOW)

    return watch


@pytest.fixture
def composed(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Whose answers were ranked rather than recalled."""
    from core.flows import recommend as story

    ranked: list[str] = []
    real = story.rank

    def counted(snapshot: Any, state: Any, *rest: Any) -> Any:
        ranked.append(state.user_id)
        return real(snapshot, state, *rest)

    monkeypatch.setattr(story, "rank", counted)
    return ranked


def subscribed(services: Services, topic: str) -> Callable[[int], list[bytes]]:
    """Take so many messages of a new topic."""
    import grpc
    from google.auth.credentials import AnonymousCredentials
    from google.pubsub_v1 import SubscriberClient
    from google.pubsub_v1.services.subscriber.transports import SubscriberGrpcTransport

    stores = services.settings.stores
    ensure_topic(stores, topic)
    channel = grpc.insecure_channel(stores.pubsub_endpoint)
    client = SubscriberClient(transport=SubscriberGrpcTransport(channel=channel, credentials=AnonymousCredentials()))
    path = client.subscription_path(stores.project, f"{topic}-pull")
    name = client.topic_path(stores.project, topic)
    client.create_subscription(request={"name": path, "topic": name, "enable_message_ordering": True}, timeout=5)

    def take(count: int) -> list[bytes]:
        taken: list[bytes] = []
        while len(taken) < count:
            found = client.pull(request={"subscription": path, "max_messages": count}, timeout=5).received_messages
            taken += [item.message.data for item in found]
            client.acknowledge(subscription=path, ack_ids=[item.ack_id for item in found], timeout=5)
        return taken

    return take


def content(answer: Answer) -> list[tuple[Any, ...]]:
    return [tuple(item) for item in answer.items]


def test_the_same_request_gets_the_same_answer_under_a_new_name(
    serving: Services, watched: Callable[..., None], composed: list[str], user: str
) -> None:
    watched(user, "title-1", "title-4")
    query = Query(user, limit=5, context=Context(device="tv"))
    first, again = compose(serving, query, NOW), compose(serving, query, NOW + TTL_S / 2)
    assert composed == [user]
    assert content(again) == content(first)
    assert again.weights == first.weights
    assert again.request_id != first.request_id, "what is shown is attributed to its own answer"
    compose(serving, query, NOW + TTL_S + 1)
    assert composed == [user, user]


def test_a_new_event_needs_no_invalidation(
    serving: Services, watched: Callable[..., None], composed: list[str], user: str
) -> None:
    watched(user, "title-1")
    shown = compose(serving, Query(user, limit=5), NOW).items[0].content_id
    watched(user, shown)
    assert shown not in [item.content_id for item in compose(serving, Query(user, limit=5), NOW + 1).items]
    assert composed == [user, user]


@pytest.mark.parametrize(
    "change",
    [
        {"limit": 6},
        {"context": Context(device="mobile")},
        {"filters": Filters(genres=("drama",))},
        {"exclude": ("title-2",)},
        {"exclude_seen": False},
        {"franchise_cap": 1},
    ],
)
def test_whatever_decides_an_answer_is_part_of_its_name(
    serving: Services, watched: Callable[..., None], composed: list[str], user: str, change: dict[str, Any]
) -> None:
    watched(user, "title-1")
    query = Query(user, limit=5)
    compose(serving, query, NOW)
    compose(serving, replace(query, **change), NOW)
    assert composed == [user, user]


@pytest.mark.parametrize(
    "form", [b"rubbish", b"{}", b'[9e9, {}, false, [["row", 1]]]', b'[9e9, {}, false, [{"row": 1}]]']
)
def test_what_another_release_kept_in_another_form_is_composed_anew(
    serving: Services, watched: Callable[..., None], composed: list[str], valkey_url: str, user: str, form: bytes
) -> None:
    watched(user, "title-1")
    first = compose(serving, Query(user, limit=5), NOW)
    valkey = redis.Redis.from_url(valkey_url)
    for key in valkey.scan_iter("rec:{*"):
        valkey.hset(key, mapping=dict.fromkeys(valkey.hkeys(key), form))
    again = compose(serving, Query(user, limit=5), NOW + 1)
    assert (content(again), composed) == (content(first), [user, user])


def test_another_part_of_the_day_asks_anew(
    serving: Services, watched: Callable[..., None], composed: list[str], user: str
) -> None:
    watched(user, "title-1")
    end_of_part = NOW // 21_600 * 21_600 + 21_600
    compose(serving, Query(user), end_of_part - 1)
    compose(serving, Query(user), end_of_part + 1)
    assert composed == [user, user]


def test_a_title_that_has_left_is_not_shown_from_memory(
    serving: Services, watched: Callable[..., None], composed: list[str], user: str
) -> None:
    watched(user, "title-0")
    query = Query(user, limit=12, filters=Filters(services=("kinoplus",)))
    assert "title-3" in [item.content_id for item in compose(serving, query, LEAVES_AT - 1).items]
    assert "title-3" not in [item.content_id for item in compose(serving, query, LEAVES_AT + 1).items]
    assert composed == [user, user]


def test_strangers_share_what_they_told_about_themselves(serving: Services, composed: list[str], user: str) -> None:
    def onboarded(name: str, *genres: str) -> Query:
        told = Onboarding(f"{name}-about", name, NOW - 10, genres)
        ingest(serving, Message(f"{name}-told", name, (told,)), NOW)
        return Query(name, limit=5)

    first, other = Query(f"{user}-a", limit=5), Query(f"{user}-b", limit=5)
    assert content(compose(serving, first, NOW)) == content(compose(serving, other, NOW))
    assert composed == [f"{user}-a"]
    drama, same, comedy = (onboarded(f"{user}-{n}", g) for n, g in enumerate(("drama", "drama", "comedy")))
    assert content(compose(serving, drama, NOW)) == content(compose(serving, same, NOW))
    compose(serving, comedy, NOW)
    assert composed == [f"{user}-a", f"{user}-0", f"{user}-2"]


def test_what_is_not_known_to_the_log_is_never_kept(serving: Services, composed: list[str], user: str) -> None:
    seen = Interaction("e", user, "title-1", InteractionType.WATCH_COMPLETE, NOW - 5)
    for query in (Query(user, recent_events=(seen,)), Query(user, text="drama"), Query(user, personalize=False)):
        compose(serving, query, NOW)
        compose(serving, query, NOW)
    assert composed == [user] * 6


def test_an_answer_from_memory_is_told_as_shown(
    serving: Services, watched: Callable[..., None], composed: list[str], user: str
) -> None:
    watched(user, "title-1")
    take = subscribed(serving, user)
    answers = [recommend(serving, Query(user, limit=3), NOW + second) for second in range(2)]
    assert composed == [user]
    serving.publisher.flush()
    told = [json.loads(data)["events"] for data in take(2)]
    assert [[event["event_id"] for event in events] for events in told] == [
        [f"{answer.request_id}:{place}" for place in range(3)] for answer in answers
    ]


def test_an_erased_user_leaves_no_answer_behind(
    serving: Services, watched: Callable[..., None], valkey_url: str, user: str
) -> None:
    watched(user, "title-1")
    compose(serving, Query(user), NOW)
    valkey = redis.Redis.from_url(valkey_url)
    mine = [key for key in valkey.scan_iter("rec:{*") if key != b"rec:{anyone}"]
    assert any(valkey.pttl(key) > 0 for key in mine)
    before = set(mine)
    erase_user(serving, user)
    left = set(valkey.scan_iter("rec:{*"))
    assert len(before - left) == 1
    compose(serving, Query(user), NOW)
    assert set(valkey.scan_iter("rec:{*")) <= left | {b"rec:{anyone}"}
