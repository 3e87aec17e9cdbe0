"""The short form of tests/benchmarks/pattern_month.py: viewers live a month on the real database, with every nightly
and weekly run, and the bank stays small."""

import pytest

from core.flows.services import Services
from core.local.demo import demo_titles
from core.stores.gcs import ensure_bucket
from core.stores.postgres.connect import ConnectionPool
from core.wiring import services_for
from tests.benchmarks.pattern_month import live, made_audience, settings_for

TABLES = (
    "reasoning_patterns, pattern_sessions, pattern_members, pattern_applications, interactions, user_states, content"
)


@pytest.mark.timeout(300)
def test_a_month_leaves_fewer_patterns_than_there_were_sessions(
    services: Services, sql: ConnectionPool, tmp_path_factory: pytest.TempPathFactory
) -> None:
    sql.run(lambda c: c.execute(f"TRUNCATE {TABLES} CASCADE"))
    settings = settings_for(services.settings.stores, tmp_path_factory.mktemp("month"))
    ensure_bucket(settings.stores)
    lived = services_for(settings)
    lived.catalog.upsert(demo_titles())
    month = live(lived, made_audience(120, 40), 40)
    report = month.report()
    assert report["requests"] > 100
    assert month.succeeded > 0
    [(sessions,)] = sql.run(lambda c: c.execute("SELECT count(*) FROM pattern_sessions").fetchall())
    assert 0 < lived.patterns.size() < sessions
    assert {run.status for run in lived.patterns.runs(30)} == {"finished"}
