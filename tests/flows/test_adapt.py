"""The story of an adaptation: it learns the taste, rolls harm back, and no death, repetition or race loses anything."""

import json
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from adapting import COMEDIES, DRAMAS, NOW, append, generation, likes, next_generation, snapshot_folder

from core import telemetry
from core.adaptation import codec, slow_tier
from core.adaptation.examples import ground
from core.adaptation.lora import delta
from core.config import JobSettings, read_settings
from core.errors import InvalidInput, NotFound, StoreUnavailable
from core.flows.adapt import adapt, request_adaptation
from core.flows.adapt_users import adapt_users
from core.flows.adaptation_lesson import evidence_of, new_ewc, prepare, train_together, true_state
from core.flows.adapters import (
    TooFewEvents,
    TooSoon,
    adapt_embeddings,
    adapter_stats,
    load_adapter,
    roll_back,
    train,
)
from core.flows.ingest import Message, ingest
from core.flows.replay import ROUNDING
from core.flows.retention import DAY_S, retain
from core.flows.services import Services
from core.interaction import InteractionType
from core.snapshot.publish import activate, publish
from core.snapshot.snapshot import Snapshot
from core.stores.gcs import GcsBucket, ensure_bucket
from core.stores.postgres.connect import ConnectionPool
from core.stores.protocols import Adaptation, StoredAdapter
from core.stores.valkey import ValkeyHotStates, client
from core.wiring import services_for

IMPRESSION = InteractionType.IMPRESSION


class Killed(BaseException):
    """The process ends here."""


class Dying:
    """A store whose process ends at one call: before it, or right after it was done."""

    def __init__(self, store: Any, name: str, after: bool = False) -> None:
        self._store, self._name, self._after = store, name, after

    def __getattr__(self, name: str) -> Any:
        if name != self._name:
            return getattr(self._store, name)
        return self._die

    def _die(self, *arguments: Any) -> None:
        if self._after:
            getattr(self._store, self._name)(*arguments)
        raise Killed


class InHand:
    """A snapshot that is simply there."""

    failure = None

    def __init__(self, snapshot: Snapshot) -> None:
        self._snapshot = snapshot

    def current(self, now: float) -> Snapshot:
        return self._snapshot


@pytest.fixture(scope="module")
def bucket_name(gcs_endpoint: str, tmp_path_factory: pytest.TempPathFactory) -> str:
    """A bucket whose active snapshot has generation g1."""
    settings = read_settings({}).stores
    stores = replace(settings, storage_endpoint=gcs_endpoint, snapshots_bucket="adapting")
    ensure_bucket(stores)
    bucket = GcsBucket(stores)
    folder = snapshot_folder(tmp_path_factory.mktemp("snapshots"), generation())
    activate(bucket, publish(folder, bucket))
    return stores.snapshots_bucket


@pytest.fixture
def services(services: Services, bucket_name: str, topic: str) -> Services:
    settings = services.settings
    stores = replace(settings.stores, snapshots_bucket=bucket_name)
    return services_for(replace(settings, stores=stores, adaptation=replace(settings.adaptation, topic=topic)))


def with_generation(services: Services, root: Path, name: str, transfers: bool = True) -> Services:
    of = next_generation(name)
    folder = snapshot_folder(root / name, of if transfers else replace(of, transfers={}), NOW + 1)
    return replace(services, snapshots=InHand(Snapshot.open(folder)))  # type: ignore[arg-type]


def stored(services: Services, user: str) -> StoredAdapter:
    found = services.adapters.load(user)
    assert found is not None
    return found


def hot(services: Services, user: str) -> StoredAdapter | None:
    return ValkeyHotStates(client(services.settings.stores), 60).get_with_adapter(user)[1]


def is_due(services: Services, user: str) -> bool:
    return user in services.adapters.due(0, 1, 10_000)


def log_of(services: Services, user: str) -> list[Adaptation]:
    return services.adapters.adaptations(user, 100)


def margin(services: Services, user: str) -> float:
    """By how much the adapter prefers dramas to comedies that the user has not seen, asked after the latest dramas."""
    snapshot, _ = services.snapshot(NOW)
    on = ground(snapshot.space)  # type: ignore[arg-type]
    rows = {names: [snapshot.row(name) for name in names] for names in (DRAMAS, COMEDIES)}
    query = on.space.sources[rows[DRAMAS][:10]].sum(axis=0)
    adapter = codec.decode(stored(services, user).blob)
    change = delta(slow_tier.Lora(on.space.A_slow, adapter.slow, 1.0), query / np.linalg.norm(query))
    scores = on.space.targets @ change
    return float(scores[rows[DRAMAS][30:]].mean() - scores[rows[COMEDIES][30:]].mean())


def test_an_adaptation_learns_the_taste_and_is_saved_cold_and_hot(services: Services, user: str) -> None:
    append(services.log, user, likes(user, DRAMAS[:25]))
    assert is_due(services, user)
    done = adapt(services, user, 25, NOW)
    assert (done.verdict, done.version, done.upto_seq, done.examples) == ("accepted", 1, 25, 24)
    assert margin(services, user) > 0.1
    adapter, copy = stored(services, user), hot(services, user)
    assert (adapter.folded_upto_seq, adapter.generation, adapter.updated_at) == (25, "g1", NOW)
    assert copy == replace(adapter, blob=codec.encode(codec.decode(adapter.blob)))
    assert len(copy.blob) < 10_240
    assert not is_due(services, user)


def test_what_was_shown_is_nothing_learned_from_and_slows_no_learning(services: Services, user: str) -> None:
    shown = [replace(one, event_id=f"shown-{one.event_id}", type=IMPRESSION) for one in likes(user, DRAMAS[:40])]
    append(services.log, user, [*shown, *likes(user, DRAMAS[:25])])
    snapshot = services.snapshot(NOW)[0]
    prepared = prepare(services, snapshot, user, None)
    assert (prepared.interactions, prepared.upto_seq) == (25, 65)
    rates = [prepared, replace(prepared, upto_seq=5000), replace(prepared, interactions=5000)]
    settings = services.settings.adaptation
    trained, same, slower = (train_together(snapshot.space, [one], settings)[0] for one in rates)
    assert trained
    assert same
    assert slower
    assert np.array_equal(trained.tier.adapter.slow, same.tier.adapter.slow)
    assert not np.array_equal(trained.tier.adapter.slow, slower.tier.adapter.slow)
    assert adapt(services, user, 65, NOW).verdict == "accepted"
    assert load_adapter(services, user, False, NOW).interactions == 25
    assert stored(services, user).folded_upto_seq == 65


def test_every_measurement_of_a_training_is_kept(services: Services, user: str) -> None:
    append(services.log, user, likes(user, DRAMAS[:25]))
    adapt(services, user, 25, NOW)
    [entry] = log_of(services, user)
    assert (entry.from_seq, entry.upto_seq, entry.generation, entry.verdict) == (0, 25, "g1", "accepted")
    measured = entry.metrics
    assert measured["loss_after"] < measured["loss_before"]
    assert measured["held_back_after"] < measured["held_back_before"]
    assert (measured["liked"], measured["liked_held_back"]) == (19, 5)
    assert {"gradient_norm", "fisher_mass", "drift", "learning_rate", "shift", "tasks"} <= set(measured)
    assert adapter_stats(services, user).entries == [entry]


def test_the_same_log_gives_the_same_bytes(services: Services, user: str, sql: ConnectionPool) -> None:
    append(services.log, user, likes(user, DRAMAS[:25]))
    adapt(services, user, 25, NOW)
    first = stored(services, user)
    for table in ("user_lora_adapters", "adaptations"):
        sql.run(lambda c, table=table: c.execute(f"DELETE FROM {table} WHERE user_id = %s", (user,)))  # type: ignore[misc]
    adapt(services, user, 25, NOW)
    assert stored(services, user) == first


def test_a_second_delivery_and_a_late_one_change_nothing(services: Services, user: str) -> None:
    append(services.log, user, likes(user, DRAMAS[:25]))
    adapt(services, user, 25, NOW)
    before = services.adapters.versions(user), log_of(services, user)
    for seq in (25, 12, 1):
        assert adapt(services, user, seq, NOW + 1).verdict == "known"
    assert (services.adapters.versions(user), log_of(services, user)) == before


def test_an_update_that_the_held_back_titles_speak_against_is_rolled_back(services: Services) -> None:
    user = "disagreeing-13"  # which decides what was passed over
    strict = replace(services.settings.adaptation, tolerance=0.0)
    services = replace(services, settings=replace(services.settings, adaptation=strict))
    append(services.log, user, likes(user, [*DRAMAS[:16], *COMEDIES[:4]]))  # too few for a shift of taste
    assert adapt(services, user, 20, NOW).verdict == "rolled_back"
    assert services.adapters.load(user) is None
    [entry] = log_of(services, user)
    assert entry.verdict == "rolled_back"
    assert entry.metrics["loss_after"] < entry.metrics["loss_before"], "it did learn what it was shown"
    assert entry.metrics["order_after"] < entry.metrics["order_before"]
    assert not is_due(services, user), "it is tried again when there is more to learn"
    assert adapt(services, user, 20, NOW + 1).verdict == "known"


def test_an_adapter_survives_a_harmful_update_as_it_was(services: Services, user: str) -> None:
    append(services.log, user, likes(user, DRAMAS[:20]))
    adapt(services, user, 20, NOW)
    good = stored(services, user)
    poisoned = replace(services, snapshots=InHand(with_nan(services, DRAMAS[3])))  # type: ignore[arg-type]
    append(services.log, user, likes(user, DRAMAS[20:25], first=20))
    assert adapt(poisoned, user, 25, NOW + 1).verdict == "rolled_back"
    assert services.adapters.versions(user) == [good]


def with_nan(services: Services, title: str) -> Snapshot:
    snapshot, _ = services.snapshot(NOW)
    assert snapshot.space is not None
    targets = snapshot.space.targets.copy()
    targets[snapshot.row(title)] = np.nan
    return replace(snapshot, space=replace(snapshot.space, targets=targets))


def test_nan_is_measured_but_never_stored(services: Services, user: str) -> None:
    append(services.log, user, likes(user, DRAMAS[:20]))
    poisoned = replace(services, snapshots=InHand(with_nan(services, DRAMAS[3])))  # type: ignore[arg-type]
    assert adapt(poisoned, user, 20, NOW).verdict == "rolled_back"
    assert services.adapters.load(user) is None
    assert np.isnan(log_of(services, user)[0].metrics["loss_after"])


def test_with_nothing_to_learn_from_only_the_mark_goes(services: Services, user: str) -> None:
    append(services.log, user, likes(user, ["unknown-title"] * 1))
    assert adapt(services, user, 1, NOW).verdict == "nothing_to_learn"
    assert services.adapters.load(user) is None
    assert not is_due(services, user)


def test_killed_between_commit_and_request_the_mark_remains_and_the_job_adapts(services: Services, user: str) -> None:
    append(services.log, user, likes(user, DRAMAS[:25]))
    assert adapt_users(services, 0, 1, lambda: NOW)["accepted"] >= 1
    assert stored(services, user).folded_upto_seq == 25
    assert not is_due(services, user)


def test_killed_between_commit_and_hot_write_a_second_delivery_copies_and_asks(services: Services, user: str) -> None:
    taken = subscribe(services)
    message = Message("m", user, tuple(likes(user, DRAMAS[:6])))
    with pytest.raises(Killed):
        ingest(replace(services, states=Dying(services.states, "save_hot")), message, NOW)
    committed = services.log.load_state(user)
    assert committed is not None
    assert committed.seq == 6
    assert ingest(services, message, NOW).stored == 0
    assert services.log.load_state(user) == committed, "nothing counted twice"
    copy, *_ = services.states.load_with_adapter(user)
    assert copy == committed
    assert json.loads(taken(1)[0]) == {"user_id": user, "seq": 6}


@pytest.mark.parametrize("repaired_by", ["second delivery", "refresh"])
def test_killed_between_cold_and_hot_save_the_copy_is_made_later(
    services: Services, user: str, repaired_by: str
) -> None:
    append(services.log, user, likes(user, DRAMAS[:25]))
    dying = replace(services, states=Dying(services.states, "save_hot_adapter"))
    with pytest.raises(Killed):
        adapt(dying, user, 25, NOW)
    assert stored(services, user).version == 1
    assert hot(services, user) is None
    if repaired_by == "refresh":
        while services.states.refresh_stale(float("inf")):
            services = services_for(services.settings)
    else:
        assert adapt(services, user, 25, NOW).verdict == "known"
    copy = hot(services, user)
    assert copy is not None
    assert copy.version == 1


@pytest.mark.parametrize("after", [False, True])
def test_killed_at_the_cold_save_it_is_saved_once(services: Services, user: str, after: bool) -> None:
    append(services.log, user, likes(user, DRAMAS[:25]))
    dying = replace(services, adapters=Dying(services.adapters, "save", after))
    with pytest.raises(Killed):
        adapt(dying, user, 25, NOW)
    assert adapt(services, user, 25, NOW).verdict == ("known" if after else "accepted")
    assert [each.version for each in services.adapters.versions(user)] == [1]
    assert len(log_of(services, user)) == 1


def test_of_adaptations_at_once_exactly_one_wins(services: Services, user: str) -> None:
    append(services.log, user, likes(user, DRAMAS[:25]))
    services.snapshot(NOW)
    start = threading.Barrier(4)

    def attempt(_: int) -> str:
        start.wait()
        return adapt(services, user, 25, NOW).verdict

    with ThreadPoolExecutor(4) as threads:
        verdicts = sorted(threads.map(attempt, range(4)))
    assert verdicts == ["accepted", "known", "known", "known"]
    assert [each.version for each in services.adapters.versions(user)] == [1]
    assert len(log_of(services, user)) == 1


class Overtaken:
    """Adapters in which somebody else is faster at the first save."""

    def __init__(self, services: Services, faster: Callable[[], object]) -> None:
        self._services, self._faster = services, [faster]

    def __getattr__(self, name: str) -> Any:
        return getattr(self._services.adapters, name)

    def save(self, user: str, adapter: StoredAdapter, entry: Adaptation) -> bool:
        while self._faster:
            self._faster.pop()()
        return self._services.adapters.save(user, adapter, entry)


def test_who_comes_second_reads_again_and_loses_no_event(services: Services, user: str) -> None:
    append(services.log, user, likes(user, DRAMAS[:20]))

    def somebody_else() -> None:
        adapt(services, user, 20, NOW)
        append(services.log, user, likes(user, DRAMAS[20:25], first=20))

    overtaken = replace(services, adapters=Overtaken(services, somebody_else))  # type: ignore[arg-type]
    assert adapt(overtaken, user, 25, NOW).upto_seq == 25
    assert [(entry.from_seq, entry.upto_seq) for entry in log_of(services, user)] == [(20, 25), (0, 20)]


def test_who_comes_second_with_nothing_left_to_do_does_nothing(services: Services, user: str) -> None:
    append(services.log, user, likes(user, DRAMAS[:20]))
    overtaken = replace(services, adapters=Overtaken(services, lambda: adapt(services, user, 20, NOW)))  # type: ignore[arg-type]
    assert adapt(overtaken, user, 20, NOW).verdict == "known"
    assert len(log_of(services, user)) == 1


def test_a_damaged_adapter_is_fitted_anew_from_the_log_which_the_log_names(
    services: Services, user: str, sql: ConnectionPool, capsys: pytest.CaptureFixture[str]
) -> None:
    append(services.log, user, likes(user, DRAMAS[:20]))
    adapt(services, user, 20, NOW)
    sql.run(lambda c: c.execute("UPDATE user_lora_adapters SET adapter_blob = 'x' WHERE user_id = %s", (user,)))
    append(services.log, user, likes(user, DRAMAS[20:25], first=20))
    telemetry.configure("INFO")
    assert adapt(services, user, 25, NOW).verdict == "accepted"
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert "adapter fitted anew from the log" in [line["message"] for line in lines if line["severity"] == "ERROR"]
    assert user not in json.dumps(lines)
    repaired = stored(services, user)
    for table in ("user_lora_adapters", "adaptations"):
        sql.run(lambda c, table=table: c.execute(f"DELETE FROM {table} WHERE user_id = %s", (user,)))  # type: ignore[misc]
    adapt(services, user, 25, NOW)
    assert weights(repaired).tobytes() == weights(stored(services, user)).tobytes()


def test_a_damaged_state_is_rebuilt_from_the_log_before_training(
    services: Services, user: str, sql: ConnectionPool
) -> None:
    append(services.log, user, likes(user, DRAMAS[:25]))
    sql.run(lambda c: c.execute("UPDATE user_states SET state = 'rubbish' WHERE user_id = %s", (user,)))
    assert adapt(services, user, 25, NOW).verdict == "accepted"


def test_what_old_events_taught_is_learned_again_from_their_checkpoint(
    services: Services, user: str, sql: ConnectionPool, clean_tables: None
) -> None:
    ingest(services, Message("m", user, tuple(likes(user, DRAMAS[:25]))), NOW)
    adapt(services, user, 25, NOW)
    first = weights(stored(services, user))
    long_ago = "UPDATE interactions SET received_at = to_timestamp(%s) WHERE user_id = %s AND seq <= 20"
    sql.run(lambda c: c.execute(long_ago, (NOW - 200 * DAY_S, user)))
    privacy = replace(services.settings.privacy, events_kept_days=100.0)
    assert retain(replace(services, settings=replace(services.settings, privacy=privacy)), NOW)["events"] == 20
    sql.run(lambda c: c.execute("UPDATE user_states SET state = 'rubbish' WHERE user_id = %s", (user,)))
    for table in ("user_lora_adapters", "adaptations"):
        sql.run(lambda c, table=table: c.execute(f"DELETE FROM {table} WHERE user_id = %s", (user,)))  # type: ignore[misc]
    assert adapt(services, user, 25, NOW).verdict == "accepted"
    assert np.allclose(weights(stored(services, user)), first, atol=ROUNDING)


def weights(adapter: StoredAdapter) -> np.ndarray:
    return codec.decode(adapter.blob).slow


def test_an_adapter_of_an_older_generation_is_carried_over(services: Services, user: str, tmp_path: Path) -> None:
    append(services.log, user, likes(user, DRAMAS[:25]))
    adapt(services, user, 25, NOW)
    newer = with_generation(services, tmp_path, "g2")
    before = margin(services, user)
    prepared = prepare(newer, newer.snapshot(NOW)[0], user, stored(services, user))
    assert prepared.tier is not None
    assert prepared.tier.adapter.generation == "g2"
    assert adapt(newer, user, 25, NOW).verdict in ("accepted", "rolled_back"), "an older generation is work to do"
    if stored(newer, user).generation == "g2":
        assert margin(newer, user) > 0.5 * before


def test_where_no_way_leads_the_adapter_is_fitted_anew(services: Services, user: str, tmp_path: Path) -> None:
    append(services.log, user, likes(user, DRAMAS[:25]))
    adapt(services, user, 25, NOW)
    newer = with_generation(services, tmp_path, "g3", transfers=False)
    assert adapt(newer, user, 25, NOW).verdict == "accepted"
    assert (stored(services, user).generation, stored(services, user).version) == ("g3", 2)
    assert margin(newer, user) > 0.05


def test_a_shift_of_taste_begins_a_new_task_and_the_old_taste_is_remembered(services: Services, user: str) -> None:
    append(services.log, user, likes(user, DRAMAS[:30]))
    adapt(services, user, 30, NOW)
    before = margin(services, user)
    append(services.log, user, likes(user, COMEDIES[:20], NOW - 20 * 86_400.0, 30))
    done = adapt(services, user, 50, NOW)
    assert log_of(services, user)[0].metrics["shift"] == 1.0
    assert log_of(services, user)[0].metrics["liked_held_back"] == 4, "the latest fifth of the new taste judges"
    assert done.verdict == "accepted"
    assert adapter_stats(services, user).tasks == 1
    assert margin(services, user) > 0.5 * before, "asked for dramas, it still answers with dramas"


def test_the_job_takes_each_user_once_in_one_of_the_shards(services: Services, user: str, clean_tables: None) -> None:
    users = [f"{user}-{number}" for number in range(9)]
    for number, name in enumerate(users):
        append(services.log, name, likes(name, DRAMAS[: 12 + number]))
    reports = [adapt_users(services, shard, 2, lambda: NOW) for shard in range(2)]
    assert sum(report["users"] for report in reports) == 9
    assert min(report["users"] for report in reports) > 0
    assert [len(log_of(services, name)) for name in users] == [1] * 9
    assert services.adapters.due(0, 1, 100) == []


def damage(sql: ConnectionPool, user: str) -> None:
    """Leave nothing from which the user's state could be had."""
    sql.run(lambda c: c.execute("UPDATE user_states SET state = 'rubbish' WHERE user_id = %s", (user,)))
    checkpoint = "INSERT INTO checkpoints (user_id, seq, state, made_at) VALUES (%s, 1, 'rubbish', now())"
    sql.run(lambda c: c.execute(checkpoint, (user,)))


def test_a_damaged_user_is_counted_and_keeps_nobody_else_from_learning(
    services: Services, user: str, sql: ConnectionPool, clean_tables: None, capsys: pytest.CaptureFixture[str]
) -> None:
    users = [f"{user}-{number}" for number in range(3)]
    for name in users:
        append(services.log, name, likes(name, DRAMAS[:25]))
    damage(sql, users[0])
    saving = services.adapters.save

    class Refusing:
        """The store that can keep anything but the second user's adapter."""

        def __getattr__(self, name: str) -> Any:
            return getattr(services.adapters, name)

        def save(self, user_id: str, *arguments: Any) -> bool:
            if user_id == users[1]:
                raise InvalidInput("not to be stored")
            return saving(user_id, *arguments)

    report = adapt_users(replace(services, adapters=Refusing()), 0, 1, lambda: NOW)  # type: ignore[arg-type]
    assert report == {"users": 3, "damaged": 2, "accepted": 1}
    assert stored(services, users[2]).folded_upto_seq == 25
    assert is_due(services, users[0])
    assert user not in capsys.readouterr().out


def test_training_together_gives_what_training_alone_does(
    services: Services, user: str, sql: ConnectionPool, clean_tables: None
) -> None:
    users = [f"{user}-{number}" for number in range(4)]
    for number, name in enumerate(users):
        append(services.log, name, likes(name, (DRAMAS, COMEDIES)[number % 2][: 10 + 5 * number]))
    adapt_users(services, 0, 1, lambda: NOW)
    together = {name: services.adapters.load(name) for name in users}
    sql.run(lambda c: c.execute("TRUNCATE user_lora_adapters, adaptations"))
    for number, name in enumerate(users):
        adapt(services, name, 10 + 5 * number, NOW)
        alone = services.adapters.load(name)
        assert (alone is None) == (together[name] is None)
        if alone is not None:
            np.testing.assert_allclose(weights(together[name]), weights(alone), atol=2e-5)  # type: ignore[arg-type]


def test_a_job_task_learns_its_shard_from_cloud_run() -> None:
    read = read_settings({"CLOUD_RUN_TASK_INDEX": "2", "CLOUD_RUN_TASK_COUNT": "5"})
    assert read.job == JobSettings(2, 5)


def test_an_event_of_a_user_who_is_due_asks_for_the_adaptation_even_when_it_comes_twice(
    services: Services, user: str
) -> None:
    taken = subscribe(services)
    events = likes(user, DRAMAS[:6])
    append(services.log, user, events)
    for _ in range(2):
        ingest(services, Message("m", user, tuple(events)), NOW)
    assert [json.loads(data) for data in taken(2)] == [{"user_id": user, "seq": 6}] * 2
    assert adapt(services, user, 6, NOW).verdict in ("accepted", "rolled_back")
    ingest(services, Message("m", user, tuple(events)), NOW)
    request_adaptation(services, user, 99)
    assert json.loads(taken(1)[0])["seq"] == 99, "nothing was asked for after the adaptation"


def subscribe(services: Services) -> Callable[[int], list[bytes]]:
    """Take so many messages of the services' topic, in order."""
    import grpc
    from google.auth.credentials import AnonymousCredentials
    from google.pubsub_v1 import SubscriberClient
    from google.pubsub_v1.services.subscriber.transports import SubscriberGrpcTransport

    settings = services.settings
    channel = grpc.insecure_channel(settings.stores.pubsub_endpoint)
    client = SubscriberClient(transport=SubscriberGrpcTransport(channel=channel, credentials=AnonymousCredentials()))
    topic = client.topic_path(settings.stores.project, settings.adaptation.topic)
    path = client.subscription_path(settings.stores.project, f"{settings.adaptation.topic}-pull")
    client.create_subscription(request={"name": path, "topic": topic, "enable_message_ordering": True}, timeout=5)

    def take(count: int) -> list[bytes]:
        taken: list[bytes] = []
        while len(taken) < count:
            request = {"subscription": path, "max_messages": count - len(taken)}
            received = client.pull(request=request, timeout=5).received_messages
            taken += [item.message.data for item in received]
            client.acknowledge(subscription=path, ack_ids=[item.ack_id for item in received], timeout=5)
        return taken

    return take


def test_without_a_broker_a_request_is_only_late(services: Services, user: str) -> None:
    stores = replace(services.settings.stores, pubsub_endpoint="127.0.0.1:9", publish_timeout_s=0.3)
    assert not request_adaptation(services_for(replace(services.settings, stores=stores)), user, 5)
    assert request_adaptation(services, user, 5)


def test_without_the_cold_store_the_message_must_come_again(services: Services, user: str) -> None:
    stores = replace(services.settings.stores, sql_dsn="host=127.0.0.1 port=9 dbname=none user=none")
    with pytest.raises(StoreUnavailable):
        adapt(services_for(replace(services.settings, stores=stores)), user, 5, NOW)


def test_an_erased_users_adaptation_creates_nothing(services: Services, user: str, sql: ConnectionPool) -> None:
    from core.stores.pseudonyms import user_hash

    append(services.log, user, likes(user, DRAMAS[:25]))
    sql.run(lambda c: c.execute("INSERT INTO erasures (user_hash) VALUES (%s)", (user_hash(user),)))
    assert adapt(services, user, 25, NOW).verdict == "erased"
    assert services.adapters.load(user) is None
    assert hot(services, user) is None


def test_rolling_back_makes_the_version_before_the_newest(services: Services, user: str) -> None:
    append(services.log, user, likes(user, DRAMAS[:25]))
    load_adapter(services, user, True, NOW)
    adapt(services, user, 25, NOW)
    with pytest.raises(NotFound):
        roll_back(services, user, 2, NOW)
    restored = roll_back(services, user, None, NOW + 5)
    assert (restored.version, restored.folded_upto_seq) == (3, 25)
    assert not weights(restored).any()
    assert weights(roll_back(services, user, 2, NOW + 6)).any()
    assert [entry.verdict for entry in log_of(services, user)] == ["rollback", "rollback", "accepted", "created"]
    assert adapt(services, user, 25, NOW + 7).verdict == "known", "what was taken back is not learned at once again"
    copy = hot(services, user)
    assert copy is not None
    assert copy.version == 4


def test_a_created_adapter_changes_nothing_until_it_learns(services: Services, user: str) -> None:
    assert load_adapter(services, user, False, NOW).weights is None
    created = load_adapter(services, user, True, NOW)
    assert (created.is_new, created.interactions) == (True, 0)
    again = load_adapter(services, user, True, NOW + 1)
    assert (again.is_new, again.weights) == (False, created.weights)
    rows = np.eye(3, 16, dtype=np.float32)
    same = adapt_embeddings(services, user, rows, NOW)
    assert (same.embeddings.tobytes(), same.magnitude) == (rows.tobytes(), 0.0)
    append(services.log, user, likes(user, DRAMAS[:25]))
    assert adapt(services, user, 25, NOW).verdict == "accepted"
    changed = adapt_embeddings(services, user, rows, NOW)
    expected = rows + delta(slow_tier.Lora(ground_of(services).A_slow, hot_weights(services, user), 1.0), rows)
    np.testing.assert_allclose(changed.embeddings, expected, atol=1e-6)
    assert changed.magnitude == pytest.approx(np.linalg.norm(expected - rows, axis=1).mean(), rel=1e-5)


def ground_of(services: Services) -> Any:
    return services.snapshot(NOW)[0].space


def hot_weights(services: Services, user: str) -> np.ndarray:
    copy = hot(services, user)
    assert copy is not None
    return codec.decode(copy.blob).slow


def test_training_on_demand_needs_ten_events_and_an_hour(services: Services, user: str) -> None:
    append(services.log, user, likes(user, DRAMAS[:9]))
    with pytest.raises(TooFewEvents) as few:
        train(services, user, False, False, NOW)
    assert few.value.current == 9
    append(services.log, user, likes(user, DRAMAS[9:20], first=9))
    done = train(services, user, False, False, NOW)
    assert (done.status, done.iterations, done.events_used) == ("training_completed", 5, 20)
    for force in (False, True):
        with pytest.raises(TooSoon) as soon:
            train(services, user, force, False, NOW + 600)
        assert soon.value.retry_after_s == 3001
    assert train(services, user, False, True, NOW + 600).status == "up_to_date", "a service may ask at any time"
    assert train(services, user, True, True, NOW + 600).iterations == 5
    assert train(services, user, False, False, NOW + 4300).status == "up_to_date"


def test_evidence_is_the_latest_mention_of_each_title_oldest_first(services: Services, user: str) -> None:
    again = likes(user, [*DRAMAS[:3], "unknown", *COMEDIES[:2]])
    append(services.log, user, again)
    snapshot, _ = services.snapshot(NOW)
    evidence = evidence_of(snapshot, true_state(services, user), 4)
    assert evidence.rows.tolist() == [snapshot.row(name) for name in (*DRAMAS[1:3], *COMEDIES[:2])]
    assert (np.diff(evidence.times) > 0).all()


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    yield
    telemetry.configure("INFO")


def test_the_cold_form_holds_all_that_the_next_adaptation_needs(services: Services, user: str) -> None:
    append(services.log, user, likes(user, DRAMAS[:25]))
    adapt(services, user, 25, NOW)
    kept = slow_tier.unpack(stored(services, user).blob, new_ewc(128, services.settings.adaptation))
    assert kept.ewc.updates == 1
    assert kept.learned_at == likes(user, DRAMAS[:25])[-1].occurred_at
    assert kept.adapter.version == 1
