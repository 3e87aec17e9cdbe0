"""The mark that an adaptation is due: set by EventLog.append in its transaction, taken away by Adapters, never lost."""

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

import pytest

from core.errors import Conflict, CorruptData, InvalidInput
from core.interaction import Interaction, InteractionType
from core.stores.postgres.adapters import PostgresAdapters
from core.stores.postgres.connect import ConnectionPool
from core.stores.postgres.event_log import PostgresEventLog
from core.stores.protocols import Adaptation, Appended, SequencedEvent, StoredAdapter, StoredState
from core.stores.pseudonyms import user_hash

NOW = 1.7e9


@pytest.fixture
def log(sql: ConnectionPool) -> PostgresEventLog:
    return PostgresEventLog(sql)


@pytest.fixture
def adapters(sql: ConnectionPool) -> PostgresAdapters:
    return PostgresAdapters(sql)


def count(before: StoredState | None, new: Sequence[SequencedEvent]) -> bytes:
    return str(int(before.blob if before else b"0") + len(new)).encode()


def add(log: PostgresEventLog, user: str, *ids: object, due: Callable[[bytes], bool] | None = None) -> Appended:
    events = [Interaction(str(name), user, "heat-1995", InteractionType.LIKE, NOW) for name in ids]
    return log.append(user, events, count, due)


def entry(user: str, upto_seq: int) -> Adaptation:
    return Adaptation(user, NOW, 1, upto_seq, "snapshot", "base", 0, "accepted", {})


def fold(adapters: PostgresAdapters, user: str, version: int, upto_seq: int) -> bool:
    return adapters.save(user, StoredAdapter(b"", version, upto_seq, "base", NOW), entry(user, upto_seq))


def at_least(number: int) -> Callable[[bytes], bool]:
    return lambda blob: int(blob) >= number


def yes(blob: bytes) -> bool:
    return True


def no(blob: bytes) -> bool:
    return False


def is_due(adapters: PostgresAdapters, user: str) -> bool:
    return user in adapters.due(0, 1, 10_000)


def test_the_state_after_the_events_decides(log: PostgresEventLog, adapters: PostgresAdapters, user: str) -> None:
    assert not add(log, user, 1, 2, due=at_least(3)).adaptation_due
    assert not is_due(adapters, user)
    assert add(log, user, 3, due=at_least(3)).adaptation_due
    assert is_due(adapters, user)


def test_only_an_adaptation_takes_the_mark_away(log: PostgresEventLog, adapters: PostgresAdapters, user: str) -> None:
    add(log, user, 1, due=yes)
    assert add(log, user, 2, due=no).adaptation_due
    assert add(log, user, 3).adaptation_due
    assert is_due(adapters, user)
    assert fold(adapters, user, 1, upto_seq=3)
    assert not is_due(adapters, user)
    assert not add(log, user, 4, due=no).adaptation_due


def test_known_events_repeat_the_mark_until_it_is_gone(
    log: PostgresEventLog, adapters: PostgresAdapters, user: str
) -> None:
    assert add(log, user, 1, due=yes).adaptation_due
    again = add(log, user, 1, due=no)
    assert (again.new, again.adaptation_due) == ((), True)
    assert add(log, user).adaptation_due, "a delivery without events repeats it, too"
    fold(adapters, user, 1, upto_seq=1)
    assert not add(log, user, 1, due=yes).adaptation_due, "what was folded is not due again"
    assert not is_due(adapters, user)


@pytest.mark.parametrize("how", ["save", "record"])
def test_events_that_came_during_the_adaptation_keep_the_mark(
    log: PostgresEventLog, adapters: PostgresAdapters, user: str, how: str
) -> None:
    add(log, user, 1, 2, due=yes)
    add(log, user, 3, due=no)  # while 1 and 2 are being trained on

    def adapted(version: int, upto_seq: int) -> bool:
        return fold(adapters, user, version, upto_seq) if how == "save" else adapters.record(entry(user, upto_seq))

    assert adapted(1, upto_seq=2)
    assert is_due(adapters, user)
    assert adapted(2, upto_seq=3)
    assert not is_due(adapters, user)


def test_what_due_raises_undoes_the_append(log: PostgresEventLog, user: str) -> None:
    def broken(blob: bytes) -> bool:
        raise CorruptData("no state")

    with pytest.raises(CorruptData):
        add(log, user, 1, due=broken)
    assert log.load_state(user) is None
    assert list(log.events(user)) == []


def test_a_conflict_leaves_the_mark(log: PostgresEventLog, adapters: PostgresAdapters, user: str) -> None:
    add(log, user, 1, due=yes)
    with pytest.raises(Conflict):
        fold(adapters, user, 2, upto_seq=1)
    assert is_due(adapters, user)


def test_an_erased_user_is_never_due(
    log: PostgresEventLog, adapters: PostgresAdapters, sql: ConnectionPool, user: str
) -> None:
    sql.run(lambda c: c.execute("INSERT INTO erasures (user_hash) VALUES (%s)", (user_hash(user),)))
    assert not add(log, user, 1, due=yes).adaptation_due
    assert not is_due(adapters, user)


def test_a_mark_set_while_an_adaptation_is_saved_is_not_lost(
    log: PostgresEventLog, adapters: PostgresAdapters, user: str
) -> None:
    """Events and adaptations race; whenever both have ended, unfolded events are due and folded ones are not."""
    for turn in range(15):
        add(log, user, f"before-{turn}", due=yes)
        state = log.load_state(user)
        assert state is not None
        start, seen = threading.Barrier(2), state.seq

        def save(version: int = turn + 1, upto_seq: int = seen, start: threading.Barrier = start) -> None:
            start.wait()
            fold(adapters, user, version, upto_seq)

        def append(turn: int = turn, start: threading.Barrier = start) -> None:
            start.wait()
            add(log, user, f"during-{turn}", due=yes)

        with ThreadPoolExecutor(2) as threads:
            for done in [threads.submit(save), threads.submit(append)]:
                done.result()
        assert is_due(adapters, user), "the event of this turn is not folded"
        adapters.record(entry(user, upto_seq=seen + 1))
        assert not is_due(adapters, user)


@pytest.mark.usefixtures("clean_tables")
def test_users_with_most_unfolded_events_come_first(log: PostgresEventLog, adapters: PostgresAdapters) -> None:
    for user, events, folded in (("b", 3, 0), ("a", 3, 0), ("much", 9, 0), ("folded", 20, 18), ("mid", 20, 15)):
        add(log, user, *range(events), due=yes)
        if folded:
            fold(adapters, user, 1, folded - 1)
            fold(adapters, user, 2, folded)
    add(log, "not-due", *range(50), due=no)
    assert adapters.due(0, 1, 100) == ["much", "mid", "a", "b", "folded"]
    assert adapters.due(0, 1, 2) == ["much", "mid"]


@pytest.mark.usefixtures("clean_tables")
@pytest.mark.parametrize("shards", [1, 2, 7])
def test_every_user_belongs_to_exactly_one_shard(
    log: PostgresEventLog, adapters: PostgresAdapters, shards: int
) -> None:
    users = [f"user-{number}" for number in range(60)]
    for user in users:
        add(log, user, 1, due=yes)
    found = [adapters.due(shard, shards, 100) for shard in range(shards)]
    assert sorted(user for shard in found for user in shard) == sorted(users)
    assert all(found), "no shard is left without work"


@pytest.mark.parametrize(("shard", "shards"), [(-1, 2), (2, 2), (0, 0)])
def test_a_shard_that_does_not_exist_is_invalid(adapters: PostgresAdapters, shard: int, shards: int) -> None:
    with pytest.raises(InvalidInput):
        adapters.due(shard, shards, 10)
