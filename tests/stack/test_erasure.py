"""After an erasure no store, queue, object or log of the whole laptop edition holds the user's id, and nothing late
brings the user back."""

import json
import shutil
import sqlite3
import time
import uuid
from pathlib import Path
from typing import Any

import psycopg
import pytest
from faults import insist

from core.experiments.experiment import Experiment, Status, Variant
from core.flows.experiments import create_experiment, move_experiment
from core.flows.services import Services
from core.local.demo_story import Client
from core.local.stack import DEAD_LETTERS, Stack
from core.stores.postgres.personal_data import TABLES as PERSONAL
from core.stores.pseudonyms import pseudonyms, user_hash
from core.stores.pubsub import PubsubPublisher
from core.stores.valkey import client, keys_of
from core.wiring import services_for

TABLES = "SELECT relname FROM pg_class WHERE relkind IN ('r', 'p') AND relnamespace = 'public'::regnamespace"

EVENTS = "SELECT FROM interactions WHERE user_id = %s"


@pytest.fixture(scope="module")
def services(stack: Stack) -> Services:
    return services_for(stack.settings())


@pytest.fixture
def person(stack: Stack) -> Client:
    return Client(stack.gateway.url, stack.secret_path, f"person-{uuid.uuid4().hex}")


def tables(stack: Stack, text: str) -> set[str]:
    """Every table with the text in any column of any row, bytes included."""
    search = "SELECT EXISTS (SELECT FROM {} AS t WHERE t::text LIKE %s OR t::text LIKE %s)"
    patterns = (f"%{text}%", f"%{text.encode().hex()}%")
    with psycopg.connect(stack.postgres.dsn) as connection:
        names = [name for (name,) in connection.execute(TABLES) if not name.startswith("interactions_")]
        return {name for name in names if connection.execute(search.format(name), patterns).fetchone() == (True,)}


def rows(stack: Stack, query: str, *values: object) -> bool:
    with psycopg.connect(stack.postgres.dsn) as connection:
        return bool(connection.execute(query, values).fetchall())


def keys(stack: Stack, text: str) -> set[bytes]:
    """Every key of the hot store whose name or value holds the text, whatever its type."""
    valkey, found = client(stack.settings().stores), text.encode()
    return {key for key in valkey.scan_iter() if found in key or found in (valkey.dump(key) or b"")}


def objects(services: Services, text: str) -> set[str]:
    buckets = (services.bucket, services.models)
    return {name for bucket in buckets for name in bucket.list("") if text.encode() in bucket.read(name)[0]}


def messages(stack: Stack, text: str, folder: Path) -> set[str]:
    """Subscriptions with an undelivered message that holds the text, in a copy of the broker's journal."""
    for file in stack.broker.folder.glob("queue.sqlite3*"):
        shutil.copy(file, folder / file.name)
    journal = sqlite3.connect(folder / "queue.sqlite3")
    query = """SELECT DISTINCT s.config FROM undelivered u JOIN subscriptions s ON s.number = u.subscription
               WHERE instr(u.payload, CAST(? AS BLOB)) OR instr(u.ordering_key, ?)"""
    found = {bytes(config).decode(errors="replace") for (config,) in journal.execute(query, (text.encode(), text))}
    journal.close()
    return found


def logs(stack: Stack, text: str) -> set[str]:
    return {file.name for file in stack.home.rglob("*.log*") if text.encode() in file.read_bytes()}


def live(person: Client, stack: Stack, services: Services) -> None:
    """Leave something wherever a user can leave anything."""
    running = Experiment(f"erased-{uuid.uuid4().hex[:8]}", (Variant("a"), Variant("b")), metric="like")
    create_experiment(services, running, time.time())
    move_experiment(services, running.name, Status.RUNNING, time.time())
    person.post("/api/v1/profile/onboarding", {"genres": ["drama"]})
    shown: dict[str, Any] = {}

    def takes_part() -> bool:
        shown.update(person.post("/api/v1/recommendations", {"limit": 20}))
        return running.name in shown["experiments"]

    insist(takes_part, "the experiment")
    for title in shown["recommendations"][:12]:
        seen = {"content_id": title["content_id"], "type": "watch_complete"}
        person.post("/api/v1/interactions", {"interactions": [seen, {**seen, "type": "like"}]})
    won = {"experiment_id": running.name, "metric_name": "signup", "conversion_id": "c-1"}
    person.post("/api/v1/experiments/conversions", won)
    insist(lambda: person.post("/api/v1/adapter/stats", {})["interaction_count"] >= 24, "the evening")
    person.post("/api/v1/adapter/load", {"create_if_missing": True})
    person.post("/api/v1/recommendations/similar", {"content_id": title["content_id"]})
    publisher, topic = PubsubPublisher(stack.settings().stores), stack.settings().stores.interactions_topic
    broken = {"user_id": person.user_id, "events": [{"type": "?", "user_id": person.user_id}]}
    publisher.publish(topic, person.user_id, json.dumps(broken).encode(), {})
    source = {"CloudPubSubDeadLetterSourceSubscription": f"{topic}-push"}
    lost = {"user_id": person.user_id, "events": [{"content_id": "late", "type": "like"}]}
    publisher.publish(DEAD_LETTERS, person.user_id, json.dumps(lost).encode(), source)
    with psycopg.connect(stack.postgres.dsn, autocommit=True) as connection:
        for statement in (
            "INSERT INTO pattern_sessions VALUES (gen_random_uuid()::text, %s, 'p', now(), now(), 1, '{}', '{}', '[]')",
            "INSERT INTO pattern_members VALUES (%s, 'segment')",
            "INSERT INTO checkpoints (user_id, seq, state, made_at) VALUES (%s, 1, '', now())",
        ):
            connection.execute(statement, (person.user_id,))
    query = "SELECT FROM rejected_events WHERE position(%s in payload) > 0"
    insist(lambda: rows(stack, query, person.user_id.encode()), "the broken event")
    exposed = "SELECT FROM exposures WHERE user_id = %s"
    # What was shown is told with a later answer of the same process.
    insist(lambda: bool(person.recommendations(limit=1)) and rows(stack, exposed, person.user_id), "the exposure")


def test_no_store_queue_object_or_log_holds_the_id_afterwards(
    stack: Stack, services: Services, person: Client, tmp_path: Path
) -> None:
    live(person, stack, services)
    before = {*PERSONAL, "rejected_events"}
    assert tables(stack, person.user_id) == before
    assert any(DEAD_LETTERS in name for name in messages(stack, person.user_id, tmp_path))
    exported = person.post("/api/v1/profile/export", {})["data"]
    assert all(exported[table] for table in [*before, "dead_letters"])
    deleted = person.post("/api/v1/profile/erase", {})["deleted"]
    assert all(deleted[table] for table in [*before, "dead_letters"]), deleted
    assert tables(stack, person.user_id) == set()
    assert keys(stack, person.user_id) == set()
    assert objects(services, person.user_id) == set()
    assert messages(stack, person.user_id, tmp_path) == set()
    assert logs(stack, person.user_id) == set()


def test_what_is_left_is_a_hash_that_only_the_key_can_make(stack: Stack, person: Client) -> None:
    person.post("/api/v1/profile/onboarding", {"genres": ["drama"]})
    insist(lambda: rows(stack, EVENTS, person.user_id), "the onboarding")
    person.recommendations()
    person.post("/api/v1/profile/erase", {})
    names = pseudonyms(stack.privacy_key_path.read_text())
    assert tables(stack, names.of(person.user_id).hex()) == {"erasures"}
    assert tables(stack, user_hash(person.user_id).hex()) == set()  # which anybody could find by trying ids
    left, valkey = keys_of(person.user_id, names), client(stack.settings().stores)
    assert keys(stack, left.tag) == {left.tombstone.encode()}
    assert 0 < valkey.ttl(left.tombstone) <= stack.settings().stores.state_ttl_s


def test_events_that_come_after_the_erasure_leave_nothing(stack: Stack, person: Client, tmp_path: Path) -> None:
    person.post("/api/v1/profile/onboarding", {"genres": ["drama"]})
    insist(lambda: rows(stack, EVENTS, person.user_id), "the onboarding")
    person.post("/api/v1/profile/erase", {})
    person.recommendations()
    person.post("/api/v1/interactions", {"content_id": "late", "type": "like"})
    insist(lambda: not messages(stack, person.user_id, tmp_path), "the late event")
    assert tables(stack, person.user_id) == set()
    assert keys(stack, person.user_id) == set()
