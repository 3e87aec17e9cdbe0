"""Experiments on PostgreSQL: what is stored once, what counts for whom, and what erased users leave."""

import threading
import time
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial

import pytest

from core.errors import Conflict, NotFound
from core.experiments.experiment import Experiment, Status, Variant, check_independent
from core.experiments.store import Conversion, Exposure
from core.interaction import Interaction, InteractionType
from core.stores.postgres.connect import ConnectionPool
from core.stores.postgres.event_log import PostgresEventLog
from core.stores.postgres.experiments import PostgresExperiments
from core.stores.pseudonyms import user_hash

NOW = 1_790_000_000.0


@pytest.fixture
def store(sql: ConnectionPool) -> PostgresExperiments:
    return PostgresExperiments(sql)


@pytest.fixture
def experiment(store: PostgresExperiments, sql: ConnectionPool) -> Iterator[Experiment]:
    """A draft, which is gone when the test is over: a running one would change other tests' answers."""
    variants = (Variant("control"), Variant("bold", 2.0, {"mmr_lambda": 0.5, "slow_tier": 0.0}))
    planned = Experiment(f"e-{uuid.uuid4().hex}", variants, "signup", 0.5, "salt", description="why", created_at=NOW)
    store.create(planned)
    yield planned
    sql.run(lambda c: c.execute("DELETE FROM experiments WHERE name = %s", (planned.name,)))


def saw(experiment: Experiment, variant: str, at: float = NOW) -> Exposure:
    return Exposure(experiment.name, variant, at)


def did(
    experiment: Experiment, name: str, value: float = 1.0, at: float = NOW + 1, metric: str = "signup"
) -> Conversion:
    return Conversion(name, experiment.name, metric, value, at)


def figures(store: PostgresExperiments, experiment: Experiment, metric: str = "signup") -> list[tuple]:
    return [
        (one.variant, one.users, one.converted, one.total, one.squares) for one in store.outcomes(experiment, metric)
    ]


def test_an_experiment_comes_back_as_it_was_planned(store: PostgresExperiments, experiment: Experiment) -> None:
    assert store.get(experiment.name) == experiment
    assert experiment in store.all()
    assert experiment not in store.all(Status.RUNNING)


def test_a_name_is_taken_once_and_an_unknown_one_is_not_found(
    store: PostgresExperiments, experiment: Experiment
) -> None:
    with pytest.raises(Conflict):
        store.create(replace(experiment, salt="other"))
    assert store.get(experiment.name).salt == "salt"
    with pytest.raises(NotFound):
        store.get("nothing-like-it")


def test_a_step_from_an_outdated_status_is_a_conflict(store: PostgresExperiments, experiment: Experiment) -> None:
    running = experiment.moved_to(Status.RUNNING, NOW + 1)
    store.move(experiment, running)
    assert store.get(experiment.name) == running
    assert running in store.all(Status.RUNNING)
    with pytest.raises(Conflict):
        store.move(experiment, running)


def test_of_two_experiments_about_the_same_one_starts_though_both_are_started_at_once(
    store: PostgresExperiments, experiment: Experiment, sql: ConnectionPool
) -> None:
    other = replace(experiment, name=f"{experiment.name}-2")
    store.create(other)
    looking, both = threading.Event(), [one.moved_to(Status.RUNNING, NOW) for one in (experiment, other)]

    def slowly(running: tuple[Experiment, ...]) -> None:
        looking.set()
        time.sleep(0.2)
        check_independent(both[0], running)

    with ThreadPoolExecutor(1) as thread:
        first = thread.submit(store.move, experiment, both[0], slowly)
        looking.wait(5.0)
        with pytest.raises(Conflict, match="already varies"):
            store.move(other, both[1], partial(check_independent, both[1]))
        first.result()
    assert [store.get(one.name).status for one in both] == [Status.RUNNING, Status.DRAFT]
    sql.run(lambda c: c.execute("DELETE FROM experiments WHERE name = %s", (other.name,)))


def test_new_weights_replace_the_old_ones(store: PostgresExperiments, experiment: Experiment) -> None:
    store.reweigh(experiment.name, {"control": 0.25, "bold": 0.75})
    assert [variant.weight for variant in store.get(experiment.name).variants] == [0.25, 0.75]


def test_exposures_and_conversions_count_once_however_often_they_come(
    store: PostgresExperiments, experiment: Experiment, user: str
) -> None:
    for _ in range(2):
        store.record(user, [saw(experiment, "bold")], [did(experiment, "c1", 2.0), did(experiment, "c2", 3.0)])
    assert store.record(user, [saw(experiment, "bold", NOW + 5)], [did(experiment, "c1", 9.0)]) == 0
    assert figures(store, experiment) == [("control", 0, 0, 0.0, 0.0), ("bold", 1, 1, 5.0, 25.0)]


def test_what_came_before_the_exposure_or_another_metric_counts_for_nothing(
    store: PostgresExperiments, experiment: Experiment, user: str
) -> None:
    early, other = did(experiment, "c1", at=NOW - 1), did(experiment, "c2", metric="purchase")
    store.record(user, [saw(experiment, "control")], [early, other])
    assert figures(store, experiment)[0] == ("control", 1, 0, 0.0, 0.0)
    assert figures(store, experiment, "purchase")[0] == ("control", 1, 1, 1.0, 1.0)


def test_the_order_of_arrival_does_not_matter(store: PostgresExperiments, experiment: Experiment, user: str) -> None:
    store.record(user, [], [did(experiment, "c1")])
    store.record(user, [saw(experiment, "control", NOW + 0.5)], [])
    store.record(user, [saw(experiment, "control", NOW)], [])
    assert figures(store, experiment)[0] == ("control", 1, 1, 1.0, 1.0)


def test_a_user_who_moved_counts_for_the_variant_seen_last_before(
    store: PostgresExperiments, experiment: Experiment, user: str
) -> None:
    store.record(user, [saw(experiment, "control", NOW), saw(experiment, "bold", NOW + 10)], [])
    store.record(user, [], [did(experiment, "c1", at=NOW + 5), did(experiment, "c2", 4.0, at=NOW + 15)])
    assert figures(store, experiment) == [("control", 1, 1, 1.0, 1.0), ("bold", 1, 1, 4.0, 16.0)]


def test_any_interaction_type_is_a_metric_without_reporting_it(
    store: PostgresExperiments, experiment: Experiment, user: str, sql: ConnectionPool
) -> None:
    store.record(user, [saw(experiment, "bold")], [])
    finished = [
        Interaction(f"e{at}", user, "title", InteractionType.WATCH_COMPLETE, NOW + at) for at in (-5.0, 5.0, 6.0)
    ]
    PostgresEventLog(sql).append(user, finished, lambda before, new: b"state")
    assert figures(store, experiment, "watch_complete")[1] == ("bold", 1, 1, 2.0, 4.0)
    assert figures(store, experiment, "like")[1] == ("bold", 1, 0, 0.0, 0.0)


def test_outcomes_can_be_had_as_they_were(
    store: PostgresExperiments, experiment: Experiment, user: str, sql: ConnectionPool
) -> None:
    store.record(user, [saw(experiment, "control", NOW), saw(experiment, "bold", NOW + 10)], [])
    store.record(user, [], [did(experiment, "c1", at=NOW + 5), did(experiment, "c2", 4.0, at=NOW + 15)])
    like = Interaction("l", user, "title", InteractionType.LIKE, NOW + 12)
    PostgresEventLog(sql).append(user, [like], lambda before, new: b"state")
    then = {
        after: [(one.users, one.total) for one in store.outcomes(experiment, "signup", NOW + after)]
        for after in (0, 1, 8, 12, 20)
    }
    assert then == {
        0: [(0, 0.0), (0, 0.0)],  # up to, and not including
        1: [(1, 0.0), (0, 0.0)],
        8: [(1, 1.0), (0, 0.0)],
        12: [(1, 1.0), (1, 0.0)],
        20: [(1, 1.0), (1, 4.0)],
    }
    assert [store.outcomes(experiment, "like", NOW + after)[1].total for after in (12, 13)] == [0.0, 1.0]


def test_unknown_experiments_and_variants_are_left_out(
    store: PostgresExperiments, experiment: Experiment, user: str
) -> None:
    unknown = Exposure("no-such", "control", NOW)
    assert store.record(user, [unknown, saw(experiment, "no-such")], [Conversion("c", "no-such", "m", 1.0, NOW)]) == 0


def test_an_erased_user_leaves_nothing_and_does_not_come_back(
    store: PostgresExperiments, experiment: Experiment, user: str, sql: ConnectionPool
) -> None:
    store.record(user, [saw(experiment, "control")], [did(experiment, "c1")])
    sql.run(lambda c: c.execute("INSERT INTO erasures (user_hash) VALUES (%s)", (user_hash(user),)))
    assert store.forget(user) == 2
    assert store.record(user, [saw(experiment, "control")], [did(experiment, "c2")]) == 0
    assert figures(store, experiment)[0] == ("control", 0, 0, 0.0, 0.0)
