"""A simulated month of the reasoning bank on a real database: viewers watch, sessions become patterns, the jobs run by
night and by week, and every request of the month is answered with patterns and without.

    python -m tests.benchmarks.pattern_month [--viewers 1500] [--days 60]

The month is the last 30 days; the days before fill the bank. The snapshot is that of the month's beginning and stays.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from core.config import PatternSettings, Settings, StoreSettings
from core.evaluation.metrics import Ragged, accuracy, paired_difference
from core.flows.extract_patterns import extract_patterns
from core.flows.ingest import append
from core.flows.maintain_patterns import maintain_patterns
from core.flows.publish_snapshot import publish_snapshot
from core.flows.recommend import rank
from core.flows.services import Services
from core.interaction import Interaction, InteractionType
from core.local.demo import demo_titles
from core.local.gcs_server import GcsServer
from core.local.postgres_server import PostgresServer
from core.local.simulator import Simulated, simulate
from core.local.valkey_server import ValkeyServer
from core.patterns.session import result_strength, trajectories
from core.profile.codec import decode
from core.profile.state import UserState
from core.ranking.query import Context, Query
from core.snapshot.snapshot import Snapshot
from core.stores.gcs import ensure_bucket
from core.stores.postgres.migrate import migrate
from core.wiring import services_for

DAY_S = 86_400.0
UNTIL = 1_780_000_000.0
MEASURED_DAYS = 30
LISTED = 10  # titles of an answer; accuracy is NDCG at so many


@dataclass(slots=True)
class Month:
    """What was counted. sizes: patterns after each night."""

    sessions: int = 0
    succeeded: int = 0
    requests: int = 0
    matched: int = 0
    sizes: list[int] = field(default_factory=list)
    nights_s: list[float] = field(default_factory=list)
    users: list[int] = field(default_factory=list)
    targets: list[list[int]] = field(default_factory=list)
    lists: dict[str, list[list[int]]] = field(default_factory=lambda: {"with": [], "without": []})
    totals: Counter[str] = field(default_factory=Counter)
    segments: dict[str, int] = field(default_factory=dict)

    def report(self) -> dict[str, Any]:
        """As JSON: match rate, pattern counts, NDCG@10 with and without patterns and their paired difference."""
        start = np.cumsum([0, *map(len, self.targets)])
        targets = Ragged(np.concatenate([np.array(rows, np.int64) for rows in self.targets]), start)
        values = {name: accuracy(np.array(rows), targets)[f"ndcg@{LISTED}"] for name, rows in self.lists.items()}
        difference = paired_difference(values["with"], values["without"], np.array(self.users))
        month = self.sizes[-MEASURED_DAYS:]
        return {
            "sessions": self.sessions,
            "succeeded": self.succeeded,
            "requests": self.requests,
            "match_rate": self.matched / max(self.requests, 1),
            "patterns": {"first": month[0], "last": month[-1], "lowest": min(month), "highest": max(month)},
            "every_fifth_night": month[::5],
            "ndcg@10": {name: float(value.mean()) for name, value in values.items()},
            "difference": {"mean": difference.difference, "se": difference.se},
            "uses": dict(self.totals),
            "segments": self.segments,
            "night_s": {"median": float(np.median(self.nights_s)), "longest": max(self.nights_s)},
        }


def sittings(audience: Simulated) -> list[tuple[float, int, list[Interaction]]]:
    """(start, viewer, events) of every sitting of everybody, in order of time."""
    found = []
    for number, viewer in enumerate(audience.viewers):
        groups = by_sitting(audience.events_of(viewer))
        found += [(events[0].occurred_at, number, events) for events in groups]
    return sorted(found, key=lambda one: one[:2])


def by_sitting(events: Iterator[Interaction]) -> Iterator[list[Interaction]]:
    """A viewer's events in the groups that the sessions see."""
    every = list(events)
    ends = [one.ended_at for one in trajectories(enumerate(every, 1))]
    groups: list[list[Interaction]] = [[] for _ in ends]
    for event in every:
        groups[min(int(np.searchsorted(ends, event.occurred_at)), len(ends) - 1)].append(event)
    return (group for group in groups if group)


def live(services: Services, audience: Simulated, days: int, progress: bool = False) -> Month:
    """Let the audience live `days` up to UNTIL. Raises whatever the stores raise."""
    month, states = Month(), {}
    month_begins = UNTIL - MEASURED_DAYS * DAY_S
    snapshot: Snapshot | None = None
    every = sittings(audience)
    place = 0
    for day in range(days):
        ends = UNTIL - (days - day - 1) * DAY_S
        if snapshot is None and ends > month_begins:
            snapshot = first_snapshot(services, every, place, states, month_begins)
        while place < len(every) and every[place][0] < ends:
            at, number, events = every[place]
            place += 1
            month.sessions += 1
            user = audience.viewers[number].user_id
            if snapshot is not None:
                state = states.get(user, UserState(user))
                ask(services, snapshot, state, number, events, at, month)
                states[user] = watch(services, user, events)
                month.succeeded += extract_patterns(services, snapshot, user)
            else:
                states[user] = watch(services, user, events)
        if snapshot is not None:
            night(services, day, ends, month)
        if progress:
            print(f"\r\033[K... day {day + 1} of {days}, {month.sizes[-1:]} patterns", end="", file=sys.stderr)
    return month


def first_snapshot(services: Services, every: list, place: int, states: dict, now: float) -> Snapshot:
    """The snapshot at the month's beginning, and patterns of everything before, with the nights that were missed."""
    publish_snapshot(services, now, activate_it=True)
    snapshot = services.snapshot(time.time())[0]
    for user in states:
        extract_patterns(services, snapshot, user)
    for nights_ago in (3, 2, 1, 0):
        maintain_patterns(services, "daily", now - nights_ago * DAY_S)
    return snapshot


def watch(services: Services, user: str, events: list[Interaction]) -> UserState:
    appended = append(services.log, user, events)
    assert appended.state is not None
    return decode(user, appended.state.blob)


def ask(
    services: Services,
    snapshot: Snapshot,
    state: UserState,
    number: int,
    events: list[Interaction],
    at: float,
    month: Month,
) -> None:
    """Answer a request right before a sitting with patterns and without, and judge both by what was watched then."""
    seen = set(state.seen_keys().tolist())
    chosen = {event.content_id for event in events if result_strength(event) > 0}
    rows = [row for name in sorted(chosen) if (row := snapshot.row(name)) is not None]
    parents = snapshot.attributes["parent"]
    targets = sorted({int(parents[row]) if parents[row] >= 0 else row for row in rows})
    targets = [row for row in targets if int(snapshot.keys[row]) not in seen]
    settings = replace(services.settings.ranking, strategy_deadline_ms=float("inf"))
    counts = np.zeros(len(snapshot), np.float32)
    query = Query(state.user_id, LISTED, Context(device=events[0].device))
    index, _ = services.pattern_memory.index(snapshot, at)
    if not len(state.history):
        return
    answers = {
        "with": rank(snapshot, state, counts, query, settings, at, patterns=index),
        "without": rank(snapshot, state, counts, query, settings, at),
    }
    month.requests += 1
    month.matched += answers["with"].pattern_match
    report_impressions(services, state.user_id, answers["with"].items, at, month)
    if not targets:
        return
    month.users.append(number)
    month.targets.append(targets)
    for name, answer in answers.items():
        listed = [item.row for item in answer.items]
        month.lists[name].append(listed + [-1] * (LISTED - len(listed)))


def report_impressions(services: Services, user: str, items: tuple, at: float, month: Month) -> None:
    """As the functions publish them; only those that a pattern lifted are needed here."""
    lifted = [item for item in items if item.pattern_id]
    if lifted:
        request = f"{user}-{at:.0f}"
        shown = [
            Interaction(
                f"{request}:{place}", user, item.content_id, InteractionType.IMPRESSION, at - 1.0,
                request_id=request, pattern_id=item.pattern_id,
            )
            for place, item in enumerate(lifted)
        ]  # fmt: skip
        append(services.log, user, shown)


def night(services: Services, day: int, ends: float, month: Month) -> None:
    """The daily job, and after each seventh day the weekly one."""
    kind = "weekly" if day % 7 == 6 else "daily"
    began = time.perf_counter()
    done = maintain_patterns(services, kind, ends)
    month.nights_s.append(time.perf_counter() - began)
    month.sizes.append(done["patterns_after"])
    for name in ("applications", "successes", "failures"):
        month.totals[name] += done["steps"]["uses"][name]
    if kind == "weekly":
        month.segments = dict(done["steps"]["segments"]["segments"])
        month.totals["universal"] += done["steps"]["universal"]["promoted"] - done["steps"]["universal"]["demoted"]


def made_audience(viewers: int, days: int, seed: int = 7) -> Simulated:
    return simulate(list(demo_titles()), np.random.default_rng(seed), until=UNTIL, viewers=viewers, days=days)


def settings_for(stores: StoreSettings, cache: Path) -> Settings:
    """Outcomes are counted at once: the simulated days pass within seconds of the database's clock."""
    patterns = PatternSettings(outcome_s=0.0)
    return Settings(edition="laptop", cache_dir=str(cache), stores=stores, patterns=patterns)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--viewers", type=int, default=1500)
    parser.add_argument("--days", type=int, default=60)
    options = parser.parse_args()
    with ExitStack() as things:
        folder = Path(things.enter_context(TemporaryDirectory()))
        postgres = things.enter_context(PostgresServer(folder / "postgres", fsync=False))
        valkey = things.enter_context(ValkeyServer(folder / "valkey"))
        storage = things.enter_context(GcsServer(folder / "storage"))
        stores = StoreSettings(sql_dsn=postgres.dsn, redis_url=valkey.url, storage_endpoint=storage.endpoint)
        migrate(stores)
        ensure_bucket(stores)
        services = services_for(settings_for(stores, folder / "cache"))
        services.catalog.upsert(demo_titles())
        month = live(services, made_audience(options.viewers, options.days), options.days, progress=True)
        print(f"\n{json.dumps(month.report(), indent=1)}")


if __name__ == "__main__":
    main()
