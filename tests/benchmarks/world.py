"""What the benchmarks run against: the laptop edition's real servers with 10 000 titles and the states of 5 000 users.

Preparing it takes minutes, so it is kept in a folder and prepared again when anything it is made of has changed.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

from core.flows.ingest import Message, ingest
from core.flows.services import Services
from core.local.stack import Stack
from core.local.tokens import sign_local_token
from core.snapshot.build import build
from core.snapshot.inputs import collect_interactions
from core.snapshot.publish import activate, publish
from core.stores.pubsub_admin import ensure_topic
from core.wiring import services_for
from tests.benchmarks.catalogue import Audience, audience
from tests.benchmarks.measure import SINGLE_THREADED

ROOT = Path(__file__).absolute().parents[2]
TITLES, VIEWERS = 10_000, 5_000
QUIETLY = "benchmark-interactions"  # a topic without subscription: impressions are published, and nobody ingests them
RECORD = "world.json"
MADE_OF = (
    *("core/catalog.py", "core/interaction.py", "core/snapshot", "core/profile", "core/stores", "core/adaptation"),
    "tests/benchmarks/catalogue.py",
)
Progress = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class World:
    """`prepared` tells how the snapshot was made: `version`, `bytes`, and `seconds` by part."""

    home: Path
    stack: Stack
    audience: Audience
    services: Services
    prepared: dict[str, Any]

    @property
    def users(self) -> list[str]:
        return [self.audience.user_id(viewer) for viewer in range(self.audience.viewers)]

    @property
    def snapshot_folder(self) -> Path:
        return self.home / "snapshots" / str(self.prepared["version"])

    def token(self, user_id: str) -> str:
        return sign_local_token(self.stack.secret_path.read_text(), user_id)

    def environment(self, **settings: str) -> dict[str, str]:
        """Environment of a function: one BLAS thread, this world's stores, and `settings` (CACHE_DIR=...)."""
        ours = {"INTERACTIONS_TOPIC": QUIETLY}
        named = {f"SONA_STORES_{name}": value for name, value in ours.items()}
        named |= {f"SONA_{name}": value for name, value in settings.items()}
        # As in the cloud: the laptop looks for a new snapshot every two seconds.
        return {
            **SINGLE_THREADED,
            "PYTHONPATH": str(ROOT),
            "SONA_CONFIG": str(self.stack.config_path),
            "SONA_SNAPSHOT_MAX_AGE_S": "30",
            **named,
        }

    def request(self, user_id: str, port: int) -> str:
        """An HTTP request for twenty recommendations, as a television sends it in the evening."""
        body = json.dumps({"limit": 20, "context": {"device_type": "tv", "time_of_day": "evening"}})
        return "\r\n".join(
            [
                "POST /api/v1/recommendations HTTP/1.1",
                f"Host: 127.0.0.1:{port}",
                f"Authorization: Bearer {self.token(user_id)}",
                "Content-Type: application/json",
                f"Content-Length: {len(body)}",
                "",
                body,
            ]
        )


def fingerprint() -> str:
    """Of everything that decides what is stored."""
    paths = sorted(path for name in MADE_OF for path in [ROOT / name, *(ROOT / name).rglob("*.py")] if path.is_file())
    digest = hashlib.sha256(f"{TITLES} {VIEWERS}".encode())
    for path in paths:
        digest.update(path.read_bytes())
    return digest.hexdigest()


@contextlib.contextmanager
def opened(home: Path, progress: Progress) -> Iterator[World]:
    """The running world in `home`. Raises SystemExit when another run uses the folder."""
    home.mkdir(parents=True, exist_ok=True)
    with (home / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise SystemExit(f"another run uses {home}; wait for it, or choose a folder with --home") from None
        record = home / RECORD
        prepared = json.loads(record.read_text()) if record.exists() else {}
        if prepared.get("fingerprint") != fingerprint():
            record.unlink(missing_ok=True)
            Stack(home / "stack", None).erase()
            shutil.rmtree(home / "snapshots", ignore_errors=True)
            prepared = {"until": time.time()}
        stack = Stack(home / "stack", None)
        try:
            progress("starting the stores")
            stack.start(demo=False)
            services = services_for(stack.settings())
            ensure_topic(services.settings.stores, QUIETLY)
            world = World(home, stack, audience(TITLES, VIEWERS, prepared["until"]), services, prepared)
            if not record.exists():
                _prepare(world, progress)
                record.write_text(json.dumps({"fingerprint": fingerprint(), **prepared}))
            yield world
        finally:
            stack.stop()


def _prepare(world: World, progress: Progress) -> None:
    """Fill the stores and `world.prepared`."""
    services, people = world.services, world.audience
    progress(f"storing {len(people.titles)} titles")
    services.catalog.upsert(people.titles)
    histories = list(people.histories())
    for number, (user_id, events) in enumerate(histories):
        if number % 250 == 0:
            progress(f"storing the histories of {len(histories)} users: {number}")
        ingest(services, Message(f"of-{user_id}", user_id, tuple(events)), time.time())
    folder, seconds = build_snapshot(people, world.home / "snapshots", progress)
    activate(services.bucket, publish(folder, services.bucket))
    size = sum(file.stat().st_size for file in folder.iterdir())
    world.prepared.update(version=folder.name, bytes=size, seconds=seconds)


def build_snapshot(people: Audience, root: Path, progress: Progress) -> tuple[Path, dict[str, float]]:
    """A snapshot below `root`, and the seconds that each part of its build took."""
    marks: list[tuple[str, float]] = []

    def part(name: str, share: float) -> None:
        progress(f"building the snapshot: {name}")
        marks.append((name, time.perf_counter()))

    part("events", 0.0)
    interactions = collect_interactions(people.events())
    folder = build(people.titles, interactions, people.until, root, progress=part)
    return folder, {name: after - at for (name, at), (_, after) in pairwise(marks)}
