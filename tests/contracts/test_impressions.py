"""Impressions on PostgreSQL against figures worked out by hand: what counts as a success of which answer, strategy and
variant, how titles are spread, and that only the period's part of the log is read."""

import json
import uuid
from collections.abc import Iterator

import pytest

from core.experiments.experiment import Experiment, Status, Variant
from core.experiments.store import Exposure
from core.flows.online_metrics import OnlineMetrics, gini, row
from core.interaction import Interaction, InteractionType, signal_strength, to_record
from core.stores.postgres.connect import ConnectionPool
from core.stores.postgres.event_log import PostgresEventLog
from core.stores.postgres.experiments import PostgresExperiments
from core.stores.postgres.impressions import SHOWN, STRENGTH, PostgresImpressions

HOUR_S, DAY_S = 3600.0, 86_400.0
MONDAY = 20_718 * DAY_S  # midnight UTC, 2026-09-22
PERIOD = (MONDAY, MONDAY + 2 * DAY_S, DAY_S)


def shown(user: str, answer: str, at: float, *titles: tuple[str, str, float]) -> list[Interaction]:
    """An answer's impressions. titles: (content id, strategy, its milliseconds) in order."""
    return [
        Interaction(
            f"{answer}:{place}", user, title, InteractionType.IMPRESSION, at, request_id=answer, position=place,
            strategy=strategy, latency_ms=spent_ms,
        )
        for place, (title, strategy, spent_ms) in enumerate(titles)
    ]  # fmt: skip


def did(user: str, title: str, kind: InteractionType, at: float, **details: object) -> Interaction:
    return Interaction(f"{title}-{kind}-{at}", user, title, kind, at, **details)  # type: ignore[arg-type]


MORNING, TUESDAY = MONDAY + 10 * HOUR_S, MONDAY + DAY_S + 10 * HOUR_S
LOG = {
    "u1": [
        did("u1", "C", InteractionType.RATING_EXPLICIT, MORNING - HOUR_S, rating=4.0),  # before anything was shown
        *shown("u1", "r1", MORNING, ("A", "collaborative", 1.0), ("B", "graph", 3.0), ("C", "collaborative", 1.0)),
        did("u1", "A", InteractionType.LIKE, MORNING + 300, request_id="r1"),  # liked, in r1
        *shown("u1", "r3", TUESDAY, ("B", "graph", 7.0), ("A", "content", 0.5)),
        did("u1", "B", InteractionType.WATCH_START, TUESDAY + 120),  # opened: r3 showed it last
        did("u1", "A", InteractionType.WATCH_COMPLETE, TUESDAY + 12 * HOUR_S, request_id="r1"),  # too late for r1
    ],
    "u2": [
        *shown("u2", "r2", MORNING + HOUR_S, ("A", "collaborative", 2.0), ("D", "graph", 5.0)),
        did("u2", "A", InteractionType.SKIP_CONTENT, MORNING + HOUR_S + 60, request_id="r2"),
        did("u2", "D", InteractionType.WATCH_PROGRESS, MORNING + 2 * HOUR_S, progress=0.6),  # liked: over half of it
        did("u2", "C", InteractionType.LIKE, MORNING + 2 * HOUR_S),  # never shown to this viewer
        *shown("u2", "r0", MONDAY - 60, ("E", "graph", 1.0)),  # the day before
    ],
}


@pytest.fixture
def store(sql: ConnectionPool, clean_tables: None) -> PostgresImpressions:
    log = PostgresEventLog(sql)
    for user, events in LOG.items():
        log.append(user, events, lambda before, new: b"state")
    insert = "INSERT INTO content (content_id, content_key, doc, content_hash) VALUES (%s, %s, '{}', '')"
    for key, content_id in enumerate("ABCDE"):
        sql.run(lambda c, at=(content_id, key): c.execute(insert, at))  # type: ignore[misc]
    return PostgresImpressions(sql)


@pytest.fixture
def experiment(sql: ConnectionPool, store: PostgresImpressions) -> Iterator[str]:
    """u1 is moved from control to bold on Tuesday, u2 is bold from its first answer."""
    experiments, name = PostgresExperiments(sql), f"e-{uuid.uuid4().hex[:8]}"
    draft = Experiment(name, (Variant("control"), Variant("bold")), created_at=MONDAY - DAY_S)
    experiments.create(draft)
    experiments.move(draft, draft.moved_to(Status.RUNNING, MONDAY))
    experiments.record("u1", [Exposure(name, "control", MORNING), Exposure(name, "bold", TUESDAY)], [])
    experiments.record("u2", [Exposure(name, "bold", MORNING + HOUR_S)], [])
    yield name
    sql.run(lambda c: c.execute("DELETE FROM experiments WHERE name = %s", (name,)))


def metrics(store: PostgresImpressions, day: str = "") -> dict[tuple[str, str], OnlineMetrics]:
    found, catalogue = store.shown(*PERIOD)
    assert catalogue == 5
    return {(one.by, one.name): row(one, catalogue) for one in found if one.day == day}


def test_everything_shown_in_the_period(store: PostgresImpressions) -> None:
    every = metrics(store)["all", ""]
    assert (every.answers, every.viewers, every.impressions) == (3, 2, 7)
    assert every.ctr == pytest.approx(3 / 7)  # A in r1, B in r3, D in r2
    assert every.precision_at_1 == pytest.approx(1 / 3)  # A in r1, of the first places of three answers
    assert every.precision_at_5 == every.precision_at_10 == pytest.approx(2 / 7)  # and D in r2
    assert every.coverage == pytest.approx(4 / 5)
    assert every.gini == pytest.approx(0.4)  # counts 0 1 1 2 3: 2 (2 + 3 + 8 + 15) / (5 * 7) - 6 / 5


def test_each_strategy_has_its_own_figures_and_time(store: PostgresImpressions) -> None:
    found = metrics(store)
    ours = found["strategy", "collaborative"]
    assert (ours.answers, ours.impressions, ours.ctr) == (2, 3, pytest.approx(1 / 3))
    assert (ours.precision_at_1, ours.precision_at_5) == (pytest.approx(1 / 2), pytest.approx(1 / 3))
    assert (ours.coverage, ours.gini) == (pytest.approx(2 / 5), pytest.approx(2 / 3))
    assert (ours.latency_p50_ms, ours.latency_p95_ms) == (pytest.approx(1.5), pytest.approx(1.95))  # of r1 and r2: once
    graph = found["strategy", "graph"]
    assert (graph.precision_at_1, graph.precision_at_5, graph.ctr) == (0.0, pytest.approx(1 / 3), pytest.approx(2 / 3))
    assert graph.latency_p50_ms == pytest.approx(5.0)
    assert {name for by, name in found if by == "strategy"} == {"collaborative", "graph", "content"}


def test_a_variant_has_what_it_served(store: PostgresImpressions, experiment: str) -> None:
    found = metrics(store)
    control, bold = found["variant", f"{experiment}:control"], found["variant", f"{experiment}:bold"]
    assert (control.answers, control.impressions, control.ctr) == (1, 3, pytest.approx(1 / 3))
    assert (bold.answers, bold.impressions, bold.ctr) == (2, 4, pytest.approx(2 / 4))
    assert (control.precision_at_5, bold.precision_at_5) == (pytest.approx(1 / 3), pytest.approx(1 / 4))


def test_days_are_utc_and_sum_up_to_the_period(store: PostgresImpressions, experiment: str) -> None:
    monday, tuesday = metrics(store, "2026-09-22"), metrics(store, "2026-09-23")
    assert (monday["all", ""].impressions, tuesday["all", ""].impressions) == (5, 2)
    assert (monday["all", ""].ctr, tuesday["all", ""].ctr) == (pytest.approx(2 / 5), pytest.approx(1 / 2))
    assert ("variant", f"{experiment}:control") not in tuesday
    assert tuesday["variant", f"{experiment}:bold"].impressions == 2
    assert ("strategy", "content") not in monday


def test_nothing_shown_is_no_row(store: PostgresImpressions) -> None:
    assert store.shown(MONDAY - 9 * DAY_S, MONDAY - 8 * DAY_S, DAY_S) == ([], 5)
    assert store.shown(*PERIOD, patient=True) == store.shown(*PERIOD)


def test_a_later_answer_takes_over_even_after_the_period(sql: ConnectionPool, store: PostgresImpressions) -> None:
    end = PERIOD[1]
    late = [
        *shown("u3", "r8", end - 60, ("A", "graph", 1.0)),
        *shown("u3", "r9", end + 60, ("A", "graph", 1.0)),
        did("u3", "A", InteractionType.LIKE, end + 120),
    ]
    PostgresEventLog(sql).append("u3", late, lambda before, new: b"state")
    every = metrics(store)["all", ""]
    assert (every.impressions, every.ctr) == (8, pytest.approx(3 / 8))  # r9 has the like, and is not in the period


@pytest.mark.parametrize(
    "event",
    [Interaction("e", "u", "t", kind, 0.0) for kind in InteractionType]
    + [Interaction("e", "u", "t", InteractionType.RATING_EXPLICIT, 0.0, rating=stars) for stars in (0.0, 2.5, 3.4, 5.0)]
    + [Interaction("e", "u", "t", InteractionType.WATCH_PROGRESS, 0.0, progress=share) for share in (0.0, 0.5, 0.9)],
    ids=lambda event: f"{event.type}-{event.rating or event.progress or ''}",
)
def test_the_log_knows_signals_as_the_code_does(sql: ConnectionPool, event: Interaction) -> None:
    statement = f"SELECT {STRENGTH} FROM (SELECT %s::text AS type, %s::jsonb AS payload) AS one"
    values = (event.type, json.dumps(to_record(event)))
    [strength] = sql.run(lambda c: c.execute(statement, values).fetchone()) or [None]
    assert float(strength) == pytest.approx(signal_strength(event))


def test_only_the_period_is_read_through_the_index(sql: ConnectionPool, clean_tables: None) -> None:
    fill = """
    INSERT INTO interactions (user_id, event_id, seq, type, content_id, occurred_at, payload)
    SELECT 'v' || mod(n, 500), n::text, n, 'impression', 't' || mod(n, 50),
           to_timestamp(%s) - make_interval(mins => n * 15), '{}'
    FROM generate_series(1, 40000) AS n
    """  # more than a year of events
    sql.run(lambda c: c.execute(fill, (MONDAY,)))
    sql.run(lambda c: c.execute("ANALYZE interactions"))
    span = {"since": MONDAY - 7 * DAY_S, "until": MONDAY, "window": DAY_S}
    [[plan]] = sql.run(lambda c: c.execute(f"EXPLAIN (FORMAT JSON) {SHOWN}", span).fetchall())
    reads = [node for node in nodes(plan[0]["Plan"]) if str(node.get("Relation Name", "")).startswith("interactions_")]
    assert len(reads) == 8  # each partition once
    for node in reads:
        assert node["Node Type"] in ("Bitmap Heap Scan", "Index Scan"), node["Node Type"]
        assert "occurred_at" in str(node.get("Recheck Cond") or node.get("Index Cond"))


def nodes(plan: dict) -> Iterator[dict]:
    yield plan
    for part in plan.get("Plans", ()):
        yield from nodes(part)


@pytest.mark.parametrize(
    ("counts", "titles", "expected"),
    [([1, 1, 1, 1], 4, 0.0), ([8], 4, 0.75), ([8], 1, 0.0), ([1, 3], 2, 0.25), ([], 4, None)],
)
def test_gini_is_nought_for_equal_shares_and_largest_for_one_title(
    counts: list[int], titles: int, expected: float | None
) -> None:
    place_sum = float(sum(place * count for place, count in enumerate(sorted(counts), 1)))
    assert gini(titles, len(counts), sum(counts), place_sum) == (None if expected is None else pytest.approx(expected))
