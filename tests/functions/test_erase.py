"""A user's data handed out and gone: every store is searched for the id, and nothing late brings it back."""

import json
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from function_client import Function, envelope

from core.adaptation.codec import UserAdapter, encode
from core.errors import ConfigurationError
from core.experiments.experiment import Experiment, Variant
from core.experiments.store import Conversion, Exposure
from core.flows.ingest import append
from core.flows.services import Services
from core.interaction import Interaction, InteractionType
from core.stores.postgres.connect import ConnectionPool
from core.stores.postgres.event_log import PostgresEventLog
from core.stores.postgres.locks import among_writers
from core.stores.postgres.personal_data import TABLES, PostgresPersonalData
from core.stores.protocols import Adaptation, StoredAdapter
from core.stores.pseudonyms import pseudonyms
from core.stores.valkey import client, keys_of

EXPORT, ERASE = "/api/v1/profile/export", "/api/v1/profile/erase"
RECOMMENDATIONS = "/api/v1/recommendations"


def columns_named_user_id(sql: ConnectionPool) -> set[str]:
    query = """
    SELECT c.relname FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid
    WHERE a.attname = 'user_id' AND c.relkind IN ('r', 'p') AND NOT c.relispartition
    """
    return {name for (name,) in sql.run(lambda connection: connection.execute(query).fetchall())}


def tables_with(sql: ConnectionPool, text: str) -> list[str]:
    """Every table of the database that has the text in any column of any row, bytes included."""
    names = "SELECT relname FROM pg_class WHERE relkind IN ('r', 'p') AND relnamespace = 'public'::regnamespace"
    tables = [name for (name,) in sql.run(lambda c: c.execute(names).fetchall())]
    search = "SELECT count(*) FROM {} AS t WHERE t::text LIKE %s OR t::text LIKE %s"
    patterns = (f"%{text}%", f"%{text.encode().hex()}%")
    return [name for name in tables if sql.run(lambda c, n=name: c.execute(search.format(n), patterns).fetchone())[0]]


def keys_with(valkey: Any, text: str) -> list[bytes]:
    """Every key whose name or value holds the text, whatever its type."""
    return [key for key in valkey.scan_iter() if text.encode() in key or text.encode() in (valkey.dump(key) or b"")]


@pytest.fixture
def everywhere(
    deployment: Services, push: Callable[..., Any], recommend: Function, ingest: Function, user: str
) -> Iterator[str]:
    """A user who has left something in every table and in the hot store."""
    now = time.time()
    push(user, {"content_id": "title-01", "type": "like"}, {"content_id": "title-02", "type": "watch_complete"})
    poison = {"user_id": user, "events": [{"type": "?", "user_id": user}]}
    ingest.post("/push", envelope(json.dumps(poison).encode(), uuid.uuid4().hex), None)
    weights = UserAdapter(np.ones((16, 8), np.float32), np.zeros((16, 2), np.float32), "g", "e")
    adapter, entry = (
        StoredAdapter(encode(weights), 1, 2, "g", now),
        Adaptation(user, now, 0, 2, "s", "g", 0, "accepted", {}),
    )
    assert deployment.adapters.save(user, adapter, entry)
    deployment.states.save_hot_adapter(user, adapter)
    name = f"erase-{user[-8:]}"
    deployment.experiments.create(Experiment(name, (Variant("a"), Variant("b")), created_at=now))
    seen, won = Exposure(name, "a", now), Conversion("c", name, "m", 1.0, now)
    assert deployment.experiments.record(user, [seen], [won]) == 2
    recommend.ask(RECOMMENDATIONS, {"limit": 3}, user)
    yield user
    deployment.personal_data.erase(user)


def leave_patterns(sql: ConnectionPool, user: str) -> None:
    session = """
    INSERT INTO pattern_sessions VALUES (%s, %s, 'p', now(), now(), 1, '{}', '{}', '[]')
    """
    sql.run(lambda c: c.execute(session, (f"session-{user[-8:]}", user)))
    sql.run(lambda c: c.execute("INSERT INTO pattern_members VALUES (%s, 'segment')", (user,)))
    checkpoint = "INSERT INTO checkpoints (user_id, seq, state, made_at) VALUES (%s, 1, '', now())"
    sql.run(lambda c: c.execute(checkpoint, (user,)))


def test_every_table_about_users_is_known_to_the_erasure(sql: ConnectionPool) -> None:
    assert columns_named_user_id(sql) == set(TABLES)


def test_an_export_holds_every_table_and_nobody_elses_rows(
    profiles: Function, everywhere: str, sql: ConnectionPool
) -> None:
    leave_patterns(sql, everywhere)
    exported = profiles.ask(EXPORT, {}, everywhere)
    assert set(exported["data"]) == {*TABLES, "rejected_events"}  # this deployment names no dead letters
    for table in TABLES:
        assert exported["data"][table], table
        assert {row["user_id"] for row in exported["data"][table]} == {everywhere}
    assert [everywhere.encode().hex() in row["payload"] for row in exported["data"]["rejected_events"]] == [True]
    shown = {row["payload"]["content_id"] for row in exported["data"]["interactions"]}
    assert {"title-01", "title-02"} <= shown


def test_after_the_erasure_no_store_holds_the_id(
    profiles: Function, everywhere: str, sql: ConnectionPool, deployment: Services, capsys: pytest.CaptureFixture[str]
) -> None:
    leave_patterns(sql, everywhere)
    valkey = client(deployment.settings.stores)
    assert set(tables_with(sql, everywhere)) >= {*TABLES, "rejected_events"}  # the search finds what is there
    names = keys_of(everywhere, pseudonyms(deployment.settings.privacy.keys))
    assert len(keys_with(valkey, names.tag)) == 2
    answer = profiles.ask(ERASE, {}, everywhere)
    assert all(answer["deleted"][table] for table in (*TABLES, "rejected_events")), answer
    assert tables_with(sql, everywhere) == []
    assert keys_with(valkey, everywhere) == []
    assert keys_with(valkey, names.tag) == [names.tombstone.encode()]  # until a copy would have ended
    assert valkey.ttl(names.tombstone) > 0
    stored = [deployment.bucket.read(name)[0] for name in deployment.bucket.list("")]
    assert stored
    assert not any(everywhere.encode() in content for content in stored)
    assert everywhere not in capsys.readouterr().out


def test_what_comes_late_does_not_bring_the_user_back(
    profiles: Function,
    recommend: Function,
    ingest: Function,
    everywhere: str,
    sql: ConnectionPool,
    deployment: Services,
) -> None:
    adapter = deployment.adapters.load(everywhere)
    assert adapter is not None
    profiles.ask(ERASE, {}, everywhere)
    late = {"user_id": everywhere, "events": [{"event_id": "late", "content_id": "title-03", "type": "like"}]}
    late["exposures"] = [{"experiment": f"erase-{everywhere[-8:]}", "variant": "b", "at": time.time()}]
    answer = ingest.post("/push", envelope(json.dumps(late).encode(), "late"), None)
    assert (answer.status_code, answer.get_json()["stored"]) == (200, 0)
    entry = Adaptation(everywhere, time.time(), 0, 2, "s", "g", 0, "accepted", {})
    assert not deployment.adapters.save(everywhere, adapter, entry)
    deployment.states.save_hot_adapter(everywhere, adapter)
    assert len(recommend.ask(RECOMMENDATIONS, {"limit": 3}, everywhere)["recommendations"]) == 3
    assert tables_with(sql, everywhere) == []
    tag = keys_of(everywhere, pseudonyms(deployment.settings.privacy.keys)).tag
    assert len(keys_with(client(deployment.settings.stores), tag)) == 1


def test_erasing_again_or_somebody_unknown_is_no_error_and_touches_nobody_else(
    profiles: Function, push: Callable[..., Any], user: str, sql: ConnectionPool
) -> None:
    other = f"{user}0"  # an id that contains the other
    push(other, {"content_id": "title-01", "type": "like"}, {"type": "?", "user_id": other}, message_id="poison")
    for _ in range(2):
        profiles.ask(ERASE, {}, user)
    assert set(tables_with(sql, other)) >= {"interactions", "user_states", "rejected_events"}


def test_rejected_events_are_found_by_whose_they_are_not_by_what_they_quote(
    profiles: Function, ingest: Function, deployment: Services, sql: ConnectionPool, user: str
) -> None:
    nameless = {"type": "?", "title": "x" * 70_000}  # cut before it could name anybody, and unreadable from then on
    ingest.post("/push", envelope(json.dumps({"user_id": user, "events": [nameless]}).encode(), f"{user}-own"), None)
    unread = envelope(b"no JSON", f"{user}-unread")
    unread["message"]["orderingKey"] = user
    ingest.post("/push", unread, None)
    deployment.log.reject("as before there were pseudonyms", json.dumps({"user_id": user}).encode(), f"{user}-old")
    other = {"user_id": f"{user}0", "events": [{"type": "?", "content_id": user, "note": "y" * 70_000}]}
    ingest.post("/push", envelope(json.dumps(other).encode(), f"{user}0-own"), None)
    query = "SELECT message_id FROM rejected_events WHERE message_id LIKE %s ORDER BY id"
    messages = lambda: [name for (name,) in sql.run(lambda c: c.execute(query, (f"{user}%",)).fetchall())]  # noqa: E731

    exported = profiles.ask(EXPORT, {}, user)["data"]["rejected_events"]
    assert sorted(row["message_id"] for row in exported) == [f"{user}-old", f"{user}-own", f"{user}-unread"]
    assert all("user_hash" not in row for row in exported)
    assert profiles.ask(ERASE, {}, user)["deleted"]["rejected_events"] == 3
    assert messages() == [f"{user}0-own"]
    ingest.post("/push", unread, None)
    assert messages() == [f"{user}0-own"], "what comes late is not kept either"


def test_one_erases_oneself_and_a_service_whomever_it_is_told(profiles: Function, user: str) -> None:
    assert profiles.post(ERASE, {"user_id": "bob"}, user).status_code == 403
    assert profiles.post(EXPORT, {"user_id": "bob"}, user).status_code == 403
    assert profiles.post(ERASE, {"user_id": user}, "support", ("service",)).status_code == 200


def test_a_tombstone_outlives_its_key_while_the_old_one_is_known(
    deployment: Services, sql: ConnectionPool, user: str, push: Callable[..., Any]
) -> None:
    in_use, older = deployment.settings.privacy.keys.split(",")
    event = Interaction("late", user, "title-01", InteractionType.LIKE, time.time())
    for keys in (older, f"{in_use},{older}", f"{'a new key for another year':x<32},{in_use},{older}"):
        log = PostgresEventLog(sql, pseudonyms(keys))
        if keys == older:
            PostgresPersonalData(sql, pseudonyms(keys)).erase(user)
        assert append(log, user, [event]).state is None
    assert append(PostgresEventLog(sql, pseudonyms(in_use)), user, [event]).state is not None, "the old key is needed"


def test_nobody_is_erased_without_a_key_and_a_short_one_is_refused(sql: ConnectionPool, user: str) -> None:
    with pytest.raises(ConfigurationError, match="SONA_PRIVACY_KEYS"):
        PostgresPersonalData(sql, pseudonyms("")).erase(user)
    with pytest.raises(ConfigurationError, match="32 bytes"):
        pseudonyms("short, and another one")


def test_writers_that_began_before_the_erasure_are_waited_for(
    deployment: Services, sql: ConnectionPool, user: str
) -> None:
    """What an erasure cannot see yet would otherwise be committed behind its back."""
    erased = threading.Event()

    def erase() -> None:
        deployment.personal_data.erase(user)
        erased.set()

    insert = "INSERT INTO pattern_members VALUES (%s, 'segment')"
    with sql.unlimited() as connection:
        with connection.transaction():
            among_writers(connection, [user])
            connection.execute(insert, (user,))
            eraser = threading.Thread(target=erase)
            eraser.start()
            assert not erased.wait(0.3)
        eraser.join(10)
    assert erased.is_set()
    assert tables_with(sql, user) == []
