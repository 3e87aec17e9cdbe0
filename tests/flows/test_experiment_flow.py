"""What an experiment's schedule does: bandits get new shares, and its history is what one would have seen then."""

import uuid
from collections.abc import Callable, Iterator

import numpy as np
import pytest

from core.experiments.experiment import Allocation, Experiment, Status, Variant
from core.experiments.store import Conversion, Exposure
from core.flows.experiments import LOOKS, create_experiment, history, move_experiment, rebalance_all, report
from core.flows.services import Services
from core.stores.postgres.connect import ConnectionPool

NOW, HOUR_S = 1_790_000_000.0, 3600.0
Plan = Callable[..., str]


@pytest.fixture
def plan(services: Services, sql: ConnectionPool) -> Iterator[Plan]:
    """Create an experiment and start it; it is gone when the test is over."""
    names: list[str] = []

    def started(allocation: Allocation, status: Status = Status.RUNNING) -> str:
        name = f"e-{uuid.uuid4().hex[:10]}"
        variants = (Variant("control"), Variant("better"), Variant("worse"))
        create_experiment(services, Experiment(name, variants, "signup", allocation=allocation), NOW)
        names.append(name)
        move_experiment(services, name, Status.RUNNING, NOW)
        if status is not Status.RUNNING:
            move_experiment(services, name, status, NOW)
        return name

    yield started
    sql.run(lambda c: c.execute("DELETE FROM experiments WHERE name = ANY(%s)", (names,)))


def see(services: Services, name: str, variant: str, users: range, converted: int, at: float = NOW) -> None:
    """`users` see the variant at `at`, and the first `converted` of them sign up within the hour."""
    for number in users:
        did = [Conversion(f"{number}", name, "signup", 1.0, at + HOUR_S)] if number - users.start < converted else []
        services.experiments.record(f"{name}-{variant}-{number}", [Exposure(name, variant, at)], did)


def weights(services: Services, name: str) -> dict[str, float]:
    return {variant.name: variant.weight for variant in services.experiments.get(name).variants}


def test_the_schedule_gives_running_bandits_new_shares_and_leaves_the_rest(services: Services, plan: Plan) -> None:
    bandit, fixed = plan(Allocation.BANDIT), plan(Allocation.FIXED)
    paused = plan(Allocation.BANDIT, Status.PAUSED)
    for name in (bandit, fixed, paused):
        for variant, converted in (("control", 12), ("better", 24), ("worse", 3)):
            see(services, name, variant, range(40), converted)
    done = rebalance_all(services, np.random.default_rng(0))
    assert set(done) & {bandit, fixed, paused} == {bandit}
    shares = weights(services, bandit)
    assert shares == pytest.approx(done[bandit])
    assert shares["better"] > 0.9 > 0.1 > shares["control"] > 0  # nobody is lost
    assert shares["worse"] == pytest.approx(0.05 / 3, rel=0.1)  # the floor
    assert weights(services, fixed) == weights(services, paused) == {"control": 1.0, "better": 1.0, "worse": 1.0}


def test_the_history_is_what_one_would_have_seen_and_ends_with_the_report(services: Services, plan: Plan) -> None:
    name = plan(Allocation.FIXED)
    for hour in range(0, 24, 6):
        for variant, converted in (("control", 10), ("better", 30), ("worse", 10)):
            see(services, name, variant, range(50 * hour, 50 * hour + 50), converted, NOW + hour * HOUR_S)
    looks = history(services, name, "", NOW + 24 * HOUR_S)
    assert len(looks) == LOOKS == 24
    assert [look.at for look in looks] == pytest.approx([NOW + hour * HOUR_S for hour in range(1, 25)])
    assert [look.users[0] for look in looks] == [50] * 6 + [100] * 6 + [150] * 6 + [200] * 6
    assert looks[0].comparisons[0].effect == 0.0  # at the first look nobody had converted yet
    better = [look.comparisons[0] for look in looks if np.isfinite(look.comparisons[0].low)]
    assert len(better) == 18  # from a hundred users on, see MIN_USERS
    widths = [one.high - one.low for one in better]
    assert widths[0] > widths[-1]
    final = report(services, name, "", np.random.default_rng(0))
    assert looks[-1].comparisons == tuple(one.against_control for one in final.variants[1:])
    assert final.decision == "better"


def test_the_report_on_a_completed_experiment_stays_as_it_was(services: Services, plan: Plan) -> None:
    name = plan(Allocation.FIXED)
    for variant in ("control", "better", "worse"):
        see(services, name, variant, range(40), 10)
    move_experiment(services, name, Status.COMPLETED, NOW + 2 * HOUR_S)
    final = report(services, name, "", np.random.default_rng(0))
    see(services, name, "better", range(40, 80), 40, NOW + 3 * HOUR_S)
    services.experiments.record(f"{name}-worse-39", [], [Conversion("late", name, "signup", 1.0, NOW + 3 * HOUR_S)])
    assert report(services, name, "", np.random.default_rng(0)) == final


def test_a_draft_has_no_history(services: Services, plan: Plan) -> None:
    name = f"{plan(Allocation.FIXED)}.draft"
    create_experiment(services, Experiment(name, (Variant("a"), Variant("b"))), NOW)
    assert history(services, name, "", NOW + HOUR_S) == []
