"""The pages about experiments and about the patterns' maintenance: whole, self-contained, with the right figures."""

import re
from dataclasses import replace

import numpy as np
import pytest

from core.evaluation.experiment_page import experiment_page
from core.evaluation.maintenance_page import maintenance_page, nights
from core.experiments.experiment import Allocation, Experiment, Status, Variant
from core.experiments.metrics import Outcome, compare
from core.flows.experiments import Look, Report, judge
from core.patterns.store import Run

NOW, DAY_S = 1_790_000_000.0, 86_400.0
EXPERIMENT = Experiment(
    "bolder", (Variant("control"), Variant("bold", 1.0, {"mmr_lambda": 0.5})), description="more <variety>",
    status=Status.RUNNING, started_at=NOW,
)  # fmt: skip


def outcomes(users: int) -> list[Outcome]:
    """A fifth of the control's users convert, three tenths of the others."""
    return [Outcome(name, users, n := users * share // 10, n, n) for name, share in (("control", 2), ("bold", 3))]


def judged(users: int, experiment: Experiment = EXPERIMENT) -> Report:
    return judge(experiment, "watch_complete", outcomes(users), np.random.default_rng(0))


def looks(*users: int) -> list[Look]:
    sizes = [(day, outcomes(n)) for day, n in enumerate(users, 1)]
    return [Look(NOW + day * DAY_S, (a.users, b.users), (compare(a, b),)) for day, (a, b) in sizes]


def self_contained(page: str) -> bool:
    loaded = re.search(r"<script|<link|<img|@import|(src|href)=\"https?:", page)
    return page.startswith("<!doctype html>") and page.rstrip().endswith("</html>") and loaded is None


def test_an_experiments_page_says_who_won_and_how_sure_that_is() -> None:
    page = experiment_page(judged(2000), looks(50, 200, 1000, 2000))
    assert self_contained(page)
    assert page.count("<svg") == 3
    assert "Decision: <b>bold</b>" in page
    assert "mmr_lambda = 0.5" in page
    assert "more &lt;variety&gt;" in page
    assert "+0.1000 <small>(" in page
    assert "+50.0%" in page
    low, high = (float(text) for text in re.findall(r"\+0\.1000 <small>\((\S+) to (\S+)\)", page)[0])
    assert 0 < low < 0.1 < high


def test_too_few_users_draw_no_interval_and_decide_nothing() -> None:
    page = experiment_page(judged(50), looks(20, 50))
    assert "too few" in page
    assert "open: nothing is decided yet" in page
    assert page.count("<svg") == 2  # without the differences


def test_a_draft_without_users_has_a_page() -> None:
    assert self_contained(experiment_page(judged(0, replace(EXPERIMENT, status=Status.DRAFT, started_at=None)), []))


def test_a_bandits_page_says_that_its_intervals_are_approximate() -> None:
    assert "approximately" in experiment_page(judged(200, replace(EXPERIMENT, allocation=Allocation.BANDIT)), [])
    assert "approximately" not in experiment_page(judged(200), [])


def test_a_lopsided_split_is_said() -> None:
    uneven = [Outcome("control", 900, 90, 90, 90), Outcome("bold", 500, 80, 80, 80)]
    page = experiment_page(judge(EXPERIMENT, "watch_complete", uneven, np.random.default_rng(0)), [])
    assert "something loses users" in page
    assert "open: nothing is decided yet" in page


def run(day: int, begin: int, end: int, status: str = "finished", dry: bool = False, **steps: dict) -> Run:
    told = {"begin": {"patterns": begin}, "end": {"patterns": end, "confidence": 0.6 + day / 100, "quality": 0.7}}
    return Run("daily", dry, status, NOW, NOW + 1, NOW + day * DAY_S, told | steps)


RUNS = [  # newest first, as the store has them
    run(
        2, 30, 26, prune={"removed": 3}, merge={"removed": 1}, uses={"applications": 10, "successes": 4, "failures": 1}
    ),
    run(1, 99, 99, dry=True),
    run(1, 99, 99, status="interrupted"),
    run(1, 20, 18, extract={"removed": 2}, uses={"applications": 0, "successes": 0, "failures": 0}),
]


def test_every_finished_run_says_what_came_and_what_went() -> None:
    first, second = nights(RUNS)
    assert (first["new"], first["gathered"], first["merged"], first["pruned"]) == (None, 2, 0, 0)
    assert (second["new"], second["gathered"], second["merged"], second["pruned"]) == (12, 0, 1, 3)  # 30 after 18
    assert (second["patterns"], second["confidence"], second["successes"]) == (26, pytest.approx(0.62), 4)


def test_the_maintenance_page_draws_them_and_a_bank_without_runs_has_a_page_too() -> None:
    page = maintenance_page(RUNS)
    assert self_contained(page)
    assert page.count("<svg") == 4
    assert page.index("2026-09-23") < page.rindex("2026-09-22")  # the latest run first in the table
    assert self_contained(maintenance_page([]))


def test_runs_that_were_not_described_leave_gaps() -> None:
    old = Run("daily", False, "finished", NOW, NOW, NOW, {"merge": {"removed": 2}})
    [row] = nights([old])
    assert (row["merged"], row["patterns"], row["quality"]) == (2, None, None)
    assert self_contained(maintenance_page([old]))
