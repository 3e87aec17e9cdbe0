"""From sessions to patterns and through their maintenance, on the real database."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from adapting import COMEDIES, DRAMAS, HOUR_S, NOW, append, generation, snapshot_folder

from core.flows.extract_patterns import extract_patterns
from core.flows.maintain_patterns import maintain_patterns
from core.flows.pattern_memory import PatternMemory
from core.flows.services import Services
from core.interaction import Interaction, InteractionType
from core.patterns.known import KnownPattern, content_space
from core.patterns.store import Changes
from core.snapshot.publish import activate, publish
from core.snapshot.snapshot import Snapshot
from core.stores.gcs import GcsBucket, ensure_bucket
from core.stores.postgres.connect import ConnectionPool

DAY_S = 86_400.0
BEGAN = NOW - 5 * DAY_S
TABLES = (
    "reasoning_patterns, pattern_results, pattern_removals, pattern_sessions, pattern_members, pattern_applications, "
    "pattern_runs, interactions, user_states, content_relationships"
)
FRESH = """
UPDATE pattern_bank SET version = 0, floor = 0, counted_until = to_timestamp(0), reinforced_until = to_timestamp(0)
"""


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return snapshot_folder(tmp_path_factory.mktemp("world"), generation())


@pytest.fixture
def bank(services: Services, sql: ConnectionPool, world: Path) -> Services:
    """The services with an empty bank and an active snapshot."""
    sql.run(lambda c: c.execute(f"TRUNCATE {TABLES} CASCADE"))
    sql.run(lambda c: c.execute(FRESH))
    ensure_bucket(services.settings.stores)
    bucket = GcsBucket(services.settings.stores)
    activate(bucket, publish(world, bucket))
    return services


def evening(
    user: str, titles: Sequence[str], at: float, kind: InteractionType = InteractionType.WATCH_COMPLETE
) -> list[Interaction]:
    """One title every ten minutes."""
    return [
        Interaction(f"{at:.0f}-{n}", user, name, kind, at + 600.0 * n, device="tv") for n, name in enumerate(titles)
    ]


def seen(services: Services) -> Snapshot:
    return services.snapshot(time.time())[0]


def watch(services: Services, user: str, *evenings: list[Interaction]) -> int:
    """Ingest, then extract, as after an adaptation."""
    events = [event for each in evenings for event in each]
    appended = append(services.log, user, events)
    assert appended.state is not None
    return extract_patterns(services, seen(services), user)


def two_evenings(services: Services, users: int = 30) -> None:
    """Half the users go on with dramas, half with comedies."""
    for number in range(users):
        pool, at = (DRAMAS, COMEDIES)[number % 2], BEGAN + number * HOUR_S / 4
        first, second = ([pool[(3 * number + k + shift) % 40] for k in range(4)] for shift in (0, 4))
        assert watch(
            services, f"u{number}", evening(f"u{number}", first, at), evening(f"u{number}", second, at + DAY_S)
        )


def stored(services: Services) -> list[KnownPattern]:
    return list(services.patterns.changes(0).put)


def same_bank(one: list[KnownPattern], other: list[KnownPattern]) -> None:
    assert [p.pattern_id for p in one] == [p.pattern_id for p in other]
    for a, b in zip(one, other, strict=True):
        assert np.array_equal(a.embedding, b.embedding)
        for name in (
            "results",
            "anchors",
            "context",
            "quality",
            "confidence",
            "size",
            "usage_count",
            "last_used",
            "segment",
        ):
            assert getattr(a, name) == getattr(b, name), name


def test_a_session_that_succeeded_is_a_pattern_and_again_it_changes_nothing(bank: Services) -> None:
    evenings = evening("ann", DRAMAS[:4], BEGAN), evening("ann", DRAMAS[4:8], BEGAN + DAY_S)
    assert watch(bank, "ann", *evenings) == 1, "nothing is known of what came before the first"
    [pattern] = stored(bank)
    assert pattern.results == dict.fromkeys(DRAMAS[4:8], 1.0)
    assert set(pattern.anchors) == set(DRAMAS[:4])
    assert pattern.circumstances["device_type"] == "tv"
    version = bank.patterns.changes(0).version
    assert extract_patterns(bank, seen(bank), "ann") == 0
    assert bank.patterns.changes(0).version == version
    [again] = stored(bank)
    same_bank([pattern], [again])


def test_a_session_that_goes_on_stays_one_pattern(bank: Services) -> None:
    watch(bank, "ann", evening("ann", DRAMAS[:4], BEGAN), evening("ann", DRAMAS[4:7], BEGAN + DAY_S))
    later = evening("ann", DRAMAS[7:9], BEGAN + DAY_S + 3 * 600.0)
    assert watch(bank, "ann", later) == 1
    [pattern] = stored(bank)
    assert set(pattern.results) == set(DRAMAS[4:9])


def test_what_was_shown_crowds_out_no_session(bank: Services) -> None:
    shown = [
        replace(one, event_id=f"{page}-{one.event_id}", type=InteractionType.IMPRESSION)
        for page in range(100)
        for one in evening("ann", DRAMAS[8:14], BEGAN + DAY_S + 4 * 600.0)
    ]
    assert watch(bank, "ann", evening("ann", DRAMAS[:4], BEGAN), evening("ann", DRAMAS[4:8], BEGAN + DAY_S), shown) == 1


def test_a_session_merged_at_night_does_not_come_back_in_the_morning(bank: Services) -> None:
    two_evenings(bank)
    maintain_patterns(bank, "daily", NOW)
    kept = stored(bank)
    assert [one.size for one in kept] == [15, 15]
    for number in range(30):
        assert extract_patterns(bank, seen(bank), f"u{number}") == 0
    same_bank(kept, stored(bank))


def test_two_clicks_and_a_refused_evening_are_no_pattern(bank: Services) -> None:
    first = evening("ann", DRAMAS[:4], BEGAN)
    clicks = evening("ann", DRAMAS[4:9], BEGAN + DAY_S, InteractionType.SEARCH_CLICK)
    refused = evening("ann", COMEDIES[:6], BEGAN + 2 * DAY_S, InteractionType.DISLIKE)
    assert watch(bank, "ann", first, clicks, refused) == 0


def test_an_erased_user_leaves_no_session(bank: Services, sql: ConnectionPool) -> None:
    from core.stores.pseudonyms import user_hash

    append(bank.log, "gone", [*evening("gone", DRAMAS[:4], BEGAN), *evening("gone", DRAMAS[4:8], BEGAN + DAY_S)])
    sql.run(lambda c: c.execute("INSERT INTO erasures (user_hash) VALUES (%s)", (user_hash("gone"),)))
    assert extract_patterns(bank, seen(bank), "gone") == 0
    sql.run(lambda c: c.execute("DELETE FROM erasures"))


@pytest.mark.parametrize("kind", ["daily", "weekly"])
def test_a_second_run_finds_nothing_to_do(bank: Services, kind: str) -> None:
    two_evenings(bank)
    first = maintain_patterns(bank, kind, NOW)
    assert first["patterns_before"] == 30
    kept = stored(bank)
    again = maintain_patterns(bank, kind, NOW)
    assert all(not step["put"] and not step["removed"] for step in again["steps"].values())
    same_bank(kept, stored(bank))


def test_a_dry_run_says_what_would_happen_and_leaves_only_its_report(bank: Services) -> None:
    two_evenings(bank)
    before, version = stored(bank), bank.patterns.changes(0).version
    told = maintain_patterns(bank, "weekly", NOW, dry_run=True)
    same_bank(before, stored(bank))
    assert bank.patterns.changes(0).version == version
    done = maintain_patterns(bank, "weekly", NOW)
    assert (told["steps"], told["patterns_after"]) == (done["steps"], done["patterns_after"])
    assert [(run.kind, run.dry_run, run.status) for run in bank.patterns.runs(9)] == [
        ("weekly", False, "finished"),
        ("weekly", True, "finished"),
    ]


def test_a_run_keeps_how_large_and_how_good_the_bank_was(bank: Services) -> None:
    two_evenings(bank)
    maintain_patterns(bank, "daily", NOW)
    [run] = bank.patterns.runs(1)
    after = stored(bank)
    assert run.steps["begin"]["patterns"] == 30
    assert run.steps["end"]["patterns"] == len(after) < 30
    assert run.steps["end"]["confidence"] == pytest.approx(np.mean([one.confidence for one in after]), abs=1e-4)
    assert run.steps["end"]["quality"] == pytest.approx(np.mean([one.quality for one in after]), abs=1e-4)


def test_two_runs_at_once_leave_the_bank_of_one(bank: Services, sql: ConnectionPool) -> None:
    two_evenings(bank)
    maintain_patterns(bank, "weekly", NOW)
    expected = stored(bank)
    sql.run(lambda c: c.execute(f"TRUNCATE {TABLES} CASCADE"))
    two_evenings(bank)
    with ThreadPoolExecutor(2) as threads:
        runs = list(threads.map(lambda _: maintain_patterns(bank, "weekly", NOW), range(2)))
    assert sorted(run["steps"]["extract"]["sessions"] for run in runs) == [0, 30]
    same_bank(expected, stored(bank))


KILLED = """
import os, sys, time
from core.config import Settings, StoreSettings
from core.flows import maintain_patterns as story
from core.wiring import services_for

services = services_for(Settings(edition="laptop", cache_dir=sys.argv[3], stores=StoreSettings(**eval(sys.argv[1]))))
plan = story.steps

def slow(*arguments):
    steps = plan(*arguments)
    def stop(view):
        changes = steps[sys.argv[2]](view)
        print("now", flush=True)
        time.sleep(60)
        return changes
    return {name: stop if name == sys.argv[2] else step for name, step in steps.items()}

story.steps = slow
story.maintain_patterns(services, "weekly", float(sys.argv[4]))
"""


@pytest.mark.parametrize("step", ["extract", "decay", "segments"])
def test_a_run_killed_in_the_middle_is_finished_by_the_next(bank: Services, sql: ConnectionPool, step: str) -> None:
    two_evenings(bank)
    maintain_patterns(bank, "weekly", NOW)
    expected = stored(bank)
    sql.run(lambda c: c.execute(f"TRUNCATE {TABLES} CASCADE"))
    two_evenings(bank)
    stores = {name: getattr(bank.settings.stores, name) for name in ("sql_dsn", "redis_url", "storage_endpoint")}
    arguments = [repr(stores), step, f"{bank.settings.cache_dir}-killed", str(NOW)]
    with subprocess.Popen([sys.executable, "-c", KILLED, *arguments], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"now\n"
        os.kill(process.pid, signal.SIGKILL)
    maintain_patterns(bank, "weekly", NOW)
    same_bank(expected, stored(bank))
    assert [run.status for run in bank.patterns.runs(2)] == ["finished", "interrupted"]


def test_a_step_is_done_again_when_its_pattern_has_changed_meanwhile(bank: Services) -> None:
    two_evenings(bank, 4)
    [one, *_] = stored(bank)
    tries = []

    def lower(view: Any) -> Changes:
        mine = next(each for each in view.patterns() if each.pattern_id == one.pattern_id)
        if not tries:
            bank.patterns.put(replace(mine, quality=0.5))
        tries.append(mine.quality)
        return Changes([replace(mine, confidence=mine.quality / 2)])

    with bank.patterns.maintenance("daily", NOW, False) as run:
        run.step("lower", lower)
    assert tries == [1.0, 0.5]
    assert next(each for each in stored(bank) if each.pattern_id == one.pattern_id).confidence == 0.25


def test_an_instance_learns_what_came_and_what_went(bank: Services) -> None:
    two_evenings(bank)
    memory = PatternMemory(bank.patterns, 60.0, 100)
    index, degraded = memory.index(seen(bank), NOW)
    assert index is not None
    assert (len(index), degraded) == (30, ())
    maintain_patterns(bank, "daily", NOW)
    index, _ = memory.index(seen(bank), NOW + 59.0)
    assert index is not None
    assert len(index) == 30, "within its age nothing is read"
    index, _ = memory.index(seen(bank), NOW + 61.0)
    assert index is not None
    assert [one.size for one in index.patterns] == [15, 15]
    changes = bank.patterns.changes(memory.version)
    assert (list(changes.put), list(changes.removed), changes.whole) == ([], [], False)


def test_who_was_away_longer_than_removals_are_remembered_reads_everything(bank: Services, sql: ConnectionPool) -> None:
    two_evenings(bank)
    version = bank.patterns.changes(0).version
    maintain_patterns(bank, "daily", NOW)
    assert not bank.patterns.changes(version).whole
    sql.run(lambda c: c.execute("UPDATE pattern_removals SET removed_at = to_timestamp(0)"))
    maintain_patterns(bank, "daily", NOW)
    changes = bank.patterns.changes(version)
    assert changes.whole
    assert len(changes.put) == 2


def test_the_database_finds_the_same_as_memory(bank: Services) -> None:
    two_evenings(bank)
    index, _ = bank.pattern_memory.index(seen(bank), NOW)
    assert index is not None
    for pattern in stored(bank)[::7]:
        near = bank.patterns.nearest(content_space(seen(bank)), pattern.embedding, 5)
        here = [index.found(match) for match in index.search(pattern.embedding, {}, 5)]
        assert [round(one.similarity, 3) for one in near] == [round(one.similarity, 3) for one in here]


def test_patterns_follow_into_a_new_space_by_their_titles(bank: Services, tmp_path: Path) -> None:
    two_evenings(bank)
    turned = replace(seen(bank), vectors=np.roll(seen(bank).vectors, 1, axis=1).astype(np.float16))
    memory = PatternMemory(bank.patterns, 60.0, 100)
    index, _ = memory.index(turned, NOW)
    assert index is not None
    assert index.space == content_space(turned) != content_space(seen(bank))
    before, _ = bank.pattern_memory.index(seen(bank), NOW)
    assert before is not None
    assert np.allclose(index.directions, np.roll(before.directions, 1, axis=1), atol=2e-3)


def shown(user: str, pattern_id: str, titles: Sequence[str], at: float, request: str) -> list[Interaction]:
    kind = InteractionType.IMPRESSION
    return [
        Interaction(f"{request}:{n}", user, name, kind, at, request_id=request, pattern_id=pattern_id)
        for n, name in enumerate(titles)
    ]


def test_uses_are_counted_from_impressions_once_and_failures_lower_confidence(bank: Services) -> None:
    bank = replace(bank, settings=replace(bank.settings, patterns=replace(bank.settings.patterns, outcome_s=0.0)))
    two_evenings(bank)
    maintain_patterns(bank, "daily", NOW)
    drama, comedy = sorted(stored(bank), key=lambda one: "drama-00" not in one.anchors)
    at = NOW + HOUR_S
    append(bank.log, "viewer", shown("viewer", drama.pattern_id, DRAMAS[30:33], at, "r1"))
    append(bank.log, "viewer", evening("viewer", DRAMAS[30:31], at + 60.0))
    append(bank.log, "viewer", shown("viewer", comedy.pattern_id, COMEDIES[30:33], at, "r2"))
    append(bank.log, "viewer", evening("viewer", COMEDIES[31:32], at + 90.0, InteractionType.DISLIKE))
    for number in range(2):
        report = maintain_patterns(bank, "daily", NOW + DAY_S)["steps"]["uses"]
        expected = (2, 1, 1) if number == 0 else (0, 0, 0)
        assert (report["applications"], report["successes"], report["failures"]) == expected
    after = {one.pattern_id: one for one in stored(bank)}
    assert {one.usage_count for one in after.values()} == {1}
    assert after[drama.pattern_id].confidence == pytest.approx(1.0)
    assert after[comedy.pattern_id].confidence == pytest.approx(15 / 16)
    assert after[drama.pattern_id].last_used == pytest.approx(at)
    assert after[comedy.pattern_id].last_used == comedy.last_used, "who convinced nobody may fade"


def test_use_of_a_pattern_that_was_merged_counts_for_what_it_became(bank: Services) -> None:
    bank = replace(bank, settings=replace(bank.settings, patterns=replace(bank.settings.patterns, outcome_s=0.0)))
    two_evenings(bank)
    single = stored(bank)[0]
    append(bank.log, "viewer", shown("viewer", single.pattern_id, DRAMAS[30:33], NOW, "r1"))
    maintain_patterns(bank, "daily", NOW - 60.0)
    append(bank.log, "viewer", shown("viewer", single.pattern_id, DRAMAS[30:33], NOW, "r2"))
    maintain_patterns(bank, "daily", NOW)
    assert sum(one.usage_count for one in stored(bank)) == 2


def edges(sql: ConnectionPool) -> dict[tuple[str, str], float]:
    query = "SELECT source_id, target_id, reinforcement FROM content_relationships"
    return {(source, target): weight for source, target, weight in sql.run(lambda c: c.execute(query).fetchall())}


def test_paths_that_led_to_success_gain_weight_and_lose_it_again(bank: Services, sql: ConnectionPool) -> None:
    walked, other = (DRAMAS[0], DRAMAS[4]), (DRAMAS[0], COMEDIES[0])
    bank.catalog.put_relationships([(*walked, "SIMILAR_TO", 0.5), (*other, "SIMILAR_TO", 0.5)])
    watch(bank, "ann", evening("ann", DRAMAS[:4], BEGAN), evening("ann", DRAMAS[4:8], BEGAN + DAY_S))
    maintain_patterns(bank, "daily", NOW)
    assert edges(sql) == {walked: pytest.approx(1.02), other: 1.0}
    maintain_patterns(bank, "daily", NOW)
    assert edges(sql)[walked] == pytest.approx(1.02), "the same night twice is one night"
    maintain_patterns(bank, "daily", NOW + 10 * DAY_S)
    assert edges(sql)[walked] == pytest.approx(1 + 0.02 * 0.97**10)
    maintain_patterns(bank, "daily", NOW + 200 * DAY_S)
    maintain_patterns(bank, "daily", NOW + 201 * DAY_S)
    assert edges(sql)[walked] == 1.0


def test_one_instance_does_not_wait_for_another_that_reads(bank: Services) -> None:
    two_evenings(bank, 4)
    memory, here = PatternMemory(bank.patterns, 60.0, 100), seen(bank)
    memory.index(here, NOW)
    started = threading.Barrier(4)

    def ask(_: int) -> int:
        started.wait()
        index, _ = memory.index(here, NOW + 100.0)
        return len(index) if index is not None else -1

    with ThreadPoolExecutor(4) as threads:
        assert set(threads.map(ask, range(4))) == {4}
