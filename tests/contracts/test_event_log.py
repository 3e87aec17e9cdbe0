"""EventLog on PostgreSQL: one application per event id, numbers without gaps, clear words when the server is away."""

import threading
import uuid
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from core.errors import CorruptData, InvalidInput
from core.interaction import Event, Interaction, InteractionType, Onboarding, signal_strength
from core.stores.postgres.connect import ConnectionPool
from core.stores.postgres.event_log import PAGE, PostgresEventLog
from core.stores.protocols import SequencedEvent, StoredState
from core.stores.pseudonyms import user_hash

HOSTILE = ["'; DROP TABLE interactions; --", "%s %(user)s %", '"\\\\', "$1", "{a}", "ü 漢 🎬", " ", "NULL", "a" * 500]


def like(user: str, event_id: str, content_id: str = "heat-1995", occurred_at: float = 1.7e9) -> Interaction:
    return Interaction(event_id, user, content_id, InteractionType.LIKE, occurred_at)


def names(before: StoredState | None, new: Sequence[SequencedEvent]) -> bytes:
    """A fold that shows what was applied, in which order and how often."""
    return (before.blob if before else b"") + b"".join(f"{item.seq}={item.event.event_id};".encode() for item in new)


def shown(items: Sequence[SequencedEvent]) -> bytes:
    return names(None, items)


@pytest.fixture
def log(sql: ConnectionPool) -> PostgresEventLog:
    return PostgresEventLog(sql)


def test_an_unknown_user_has_no_state_and_no_events(log: PostgresEventLog, user: str) -> None:
    assert log.load_state(user) is None
    assert list(log.events(user)) == []


def test_a_first_event_gets_number_one_and_a_state(log: PostgresEventLog, user: str) -> None:
    appended = log.append(user, [like(user, "a")], names)
    assert appended.new == (SequencedEvent(1, like(user, "a")),)
    assert appended.state == StoredState(b"1=a;", version=1, seq=1) == log.load_state(user)


def test_each_append_continues_the_numbers_and_folds_onto_the_stored_state(log: PostgresEventLog, user: str) -> None:
    log.append(user, [like(user, "a"), like(user, "b")], names)
    appended = log.append(user, [like(user, "c")], names)
    assert [item.seq for item in appended.new] == [3]
    assert log.load_state(user) == StoredState(b"1=a;2=b;3=c;", version=2, seq=3)


def test_a_known_event_changes_nothing_and_returns_the_stored_state(log: PostgresEventLog, user: str) -> None:
    first = log.append(user, [like(user, "a")], names)
    again = log.append(user, [like(user, "a", content_id="another")], names)
    assert again.new == ()
    assert again.state == first.state == log.load_state(user)
    assert [item.event for item in log.events(user)] == [like(user, "a")]


def test_only_the_unknown_part_of_a_batch_is_applied(log: PostgresEventLog, user: str) -> None:
    log.append(user, [like(user, "b")], names)
    appended = log.append(user, [like(user, name) for name in ("a", "b", "c")], names)
    assert shown(appended.new) == b"2=a;3=c;"


def test_one_id_twice_in_a_batch_counts_once_and_the_first_wins(log: PostgresEventLog, user: str) -> None:
    first, second = like(user, "a", content_id="first"), like(user, "a", content_id="second")
    assert log.append(user, [first, like(user, "b"), second], names).new == (
        SequencedEvent(1, first),
        SequencedEvent(2, like(user, "b")),
    )


def test_no_events_append_nothing(log: PostgresEventLog, user: str) -> None:
    assert log.append(user, [], names).state is None
    log.append(user, [like(user, "a")], names)
    assert log.append(user, [], names) == log.append(user, [like(user, "a")], names)


def test_the_same_event_id_of_two_users_is_two_events(log: PostgresEventLog, user: str) -> None:
    other = f"{user}-other"
    assert log.append(user, [like(user, "a")], names).new
    assert log.append(other, [like(other, "a")], names).new


@given(batches=st.lists(st.lists(st.integers(0, 12), max_size=6), max_size=6))
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_sequence_of_batches_equals_the_list_of_first_appearances(
    log: PostgresEventLog, batches: list[list[int]]
) -> None:
    user = uuid.uuid4().hex
    for batch in batches:
        log.append(user, [like(user, str(number)) for number in batch], names)
    expected = list(dict.fromkeys(str(number) for batch in batches for number in batch))
    items = list(log.events(user))
    assert [(item.seq, item.event.event_id) for item in items] == list(enumerate(expected, 1))
    state = log.load_state(user)
    assert (state.blob if state else b"") == shown(items)


def test_threads_appending_the_same_and_different_events_apply_each_once_without_gaps(
    log: PostgresEventLog, user: str
) -> None:
    start = threading.Barrier(8)

    def deliver(thread: int) -> int:
        start.wait()
        new = 0
        for turn in range(10):
            events = [
                like(user, f"shared-{turn}"),
                like(user, f"own-{thread}-{turn}"),
                like(user, f"pair-{thread // 2}"),
            ]
            new += len(log.append(user, events, names).new)
        return new

    with ThreadPoolExecutor(8) as threads:
        new = sum(threads.map(deliver, range(8)))
    items = list(log.events(user))
    assert [item.seq for item in items] == list(range(1, 10 + 80 + 4 + 1))
    assert len({item.event.event_id for item in items}) == len(items) == new
    state = log.load_state(user)
    assert state is not None
    assert (state.blob, state.seq) == (shown(items), len(items))


def test_new_users_created_by_many_threads_at_once_lose_nothing(log: PostgresEventLog, user: str) -> None:
    start = threading.Barrier(8)

    def deliver(thread: int) -> None:
        start.wait()
        log.append(user, [like(user, f"event-{thread}")], names)

    with ThreadPoolExecutor(8) as threads:
        list(threads.map(deliver, range(8)))
    state = log.load_state(user)
    assert state is not None
    assert (state.version, state.seq, len(list(log.events(user)))) == (8, 8, 8)


def test_every_event_comes_back_as_it_was(log: PostgresEventLog, user: str) -> None:
    events: list[Event] = [
        Interaction("1", user, "c", InteractionType.WATCH_PROGRESS, 1_700_000_000.123456789, progress=1 / 3),
        Interaction("2", user, "c", InteractionType.RATING_EXPLICIT, 0.5, rating=4.5, rewatch=True),
        Interaction("3", user, "c", InteractionType.SKIP_CONTENT, -1e9, device="tv", request_id="r"),
        Interaction("4", user, "c", InteractionType.RATING_EXPLICIT, 1.7e9, rating=0.0),
        Onboarding("5", user, 1.7e9, genres=("drama", "war"), age_band="25-34", region="FI", language="sv"),
        Onboarding("6", user, 1.7e9),
    ]
    log.append(user, events, names)
    assert [item.event for item in log.events(user)] == events
    assert list(log.events(user, after_seq=4)) == [SequencedEvent(5, events[4]), SequencedEvent(6, events[5])]


def test_a_history_longer_than_a_page_is_read_whole_and_in_order(log: PostgresEventLog, user: str) -> None:
    log.append(user, [like(user, str(number)) for number in range(2 * PAGE)], names)
    assert [item.seq for item in log.events(user)] == list(range(1, 2 * PAGE + 1))


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_ids_are_only_strings(log: PostgresEventLog, user: str, text: str) -> None:
    hostile_user = f"{user}{text}"
    event = Interaction(text, hostile_user, text, InteractionType.LIKE, 1.7e9, device=text, request_id=text)
    log.append(hostile_user, [event], names)
    assert [item.event for item in log.events(hostile_user)] == [event]
    assert log.load_state(user) is None


@pytest.mark.parametrize("bad", ["a\0b", "\ud800"])
def test_text_that_postgresql_cannot_hold_is_invalid_and_leaves_nothing(
    log: PostgresEventLog, user: str, bad: str
) -> None:
    for event in (like(user, bad), like(user, "x", content_id=bad)):
        with pytest.raises(InvalidInput):
            log.append(user, [like(user, "good"), event], names)
    assert log.load_state(user) is None
    assert list(log.events(user)) == []


@pytest.mark.parametrize("when", [float("nan"), float("inf"), 1e20])
def test_impossible_times_are_invalid(log: PostgresEventLog, user: str, when: float) -> None:
    with pytest.raises(InvalidInput):
        log.append(user, [like(user, "a", occurred_at=when)], names)


def test_what_the_fold_raises_undoes_the_append(log: PostgresEventLog, user: str) -> None:
    log.append(user, [like(user, "a")], names)

    def broken(before: StoredState | None, new: Sequence[SequencedEvent]) -> bytes:
        raise CorruptData("no state")

    with pytest.raises(CorruptData):
        log.append(user, [like(user, "b")], broken)
    assert log.load_state(user) == StoredState(b"1=a;", version=1, seq=1)
    assert shown(log.append(user, [like(user, "c")], names).new) == b"2=c;"


def test_an_erased_user_is_not_recreated(log: PostgresEventLog, sql: ConnectionPool, user: str) -> None:
    sql.run(lambda c: c.execute("INSERT INTO erasures (user_hash) VALUES (%s)", (user_hash(user),)))
    appended = log.append(user, [like(user, "late")], names)
    assert (appended.new, appended.state) == ((), None)
    assert log.load_state(user) is None
    assert sql.run(lambda c: c.execute("SELECT FROM user_states WHERE user_id = %s", (user,)).fetchall()) == []


def test_a_rejected_message_is_kept_once_per_payload(log: PostgresEventLog, sql: ConnectionPool, user: str) -> None:
    for payload in (b"\xff\x00{", b"\xff\x00{", b"other"):
        log.reject("not JSON", payload, message_id=user)
    query = "SELECT reason, payload FROM rejected_events WHERE message_id = %s ORDER BY id"
    rows = sql.run(lambda c: c.execute(query, (user,)).fetchall())
    assert rows == [("not JSON", b"\xff\x00{"), ("not JSON", b"other")]


@pytest.mark.usefixtures("clean_tables")
def test_stale_hot_copies_are_listed_oldest_first_until_the_copy_has_their_version(log: PostgresEventLog) -> None:
    for user in ("second", "first", "fresh"):
        log.append(user, [like(user, "a")], names)
    for user in ("first", "second", "first", "unknown"):
        log.mark_hot_stale(user)
    state = StoredState(b"1=a;", version=1, seq=1)
    assert log.stale_hot(10) == [("first", state), ("second", state)]
    assert log.stale_hot(1) == [("first", state)]
    newer = log.append("first", [like("first", "b")], names).state
    log.clear_hot_stale("first", version=1)
    assert log.stale_hot(1) == [("first", newer)], "a newer write keeps the mark"
    log.clear_hot_stale("first", version=2)
    assert log.stale_hot(10) == [("second", state)]


def every_kind(user: str) -> list[Interaction]:
    plain = [Interaction(f"{user}-{kind}", user, str(kind), kind, 1.7e9) for kind in InteractionType]
    rated = [
        Interaction(f"{user}-r{stars}", user, f"r{stars}", InteractionType.RATING_EXPLICIT, 1.7e9, rating=stars)
        for stars in (0.5, 2.5, 3.0, 3.5, 5.0)
    ]
    watched = [
        Interaction(f"{user}-p{share}", user, f"p{share}", InteractionType.WATCH_PROGRESS, 1.7e9, progress=share)
        for share in (0.0, 0.01, 1.0)
    ]
    return plain + rated + watched


@pytest.mark.usefixtures("clean_tables")
def test_popularity_counts_exactly_the_positive_events(log: PostgresEventLog) -> None:
    for user in ("u", "v"):
        log.append(user, [*every_kind(user), Onboarding(f"{user}-o", user, 1.7e9)], names)
    positive = {event.content_id for event in every_kind("u") if signal_strength(event) > 0}
    assert log.popularity(since=0.0, half_life_s=3600.0, now=1.7e9) == dict.fromkeys(positive, 2.0)


@pytest.mark.usefixtures("clean_tables")
def test_popularity_halves_every_half_life_and_a_clock_ahead_counts_as_now(log: PostgresEventLog) -> None:
    ages = {"now": 0.0, "one": 100.0, "two": 200.0, "ahead": -1e6, "ancient": 1e8, "too-old": 2e8}
    log.append("u", [like("u", name, content_id=name, occurred_at=1.7e9 - age) for name, age in ages.items()], names)
    counts = log.popularity(since=1.7e9 - 1.5e8, half_life_s=100.0, now=1.7e9)
    assert counts.pop("ancient") < 1e-100
    assert counts == pytest.approx({"now": 1.0, "one": 0.5, "two": 0.25, "ahead": 1.0})


@pytest.mark.usefixtures("clean_tables")
def test_evidence_streams_by_user_and_time_whatever_the_order_of_arrival(log: PostgresEventLog) -> None:
    times = {"b": [3.0, 1.0, 2.0], "a": [5.0, 4.0]}
    for user, arrivals in times.items():
        log.append(user, [like(user, str(at), occurred_at=at) for at in arrivals], names)
        log.append(
            user, [Interaction("no", user, "c", InteractionType.IMPRESSION, 9.0), Onboarding("o", user, 0.0)], names
        )
    assert [(event.user_id, event.occurred_at) for event in log.evidence()] == [
        ("a", 0.0),
        ("a", 4.0),
        ("a", 5.0),
        ("b", 0.0),
        ("b", 1.0),
        ("b", 2.0),
        ("b", 3.0),
    ]


def test_a_stream_that_is_abandoned_gives_its_connection_back(log: PostgresEventLog, user: str) -> None:
    log.append(user, [like(user, "a"), like(user, "b")], names)
    for _ in range(12):  # more than the pool has
        assert next(log.evidence())
    assert log.load_state(user)
