"""The router: accuracy on the hand-written queries, and the time of a decision, a selection, a look-up and a choice.

    python -m tests.benchmarks.bench_router FILE

routes the texts of a file of JSON lines (plain or .gz, with `text` and `intent`) and prints, per intent, how many are
turned down as out of domain: a look at how people phrase things elsewhere.
"""

from __future__ import annotations

import gzip
import json
import sys
import tempfile
import time
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from core.attention import names
from core.attention.select import QUERY_TYPES, observed, propose, reward_counts, types_of, usable_with
from core.config import RouterSettings
from core.embedding.encoder import Encoder
from core.embedding.weights import ensure_minilm
from core.local.demo import demo_titles
from core.routing.calibrate import calibration_error
from core.routing.entities import build_index, find_entities
from core.routing.model_choice import choose, parse_models
from core.routing.router import Router, open_router
from core.routing.routes import CLASSES, OUT_OF_DOMAIN
from core.snapshot.build import build
from core.snapshot.inputs import collect_interactions
from core.snapshot.snapshot import Snapshot
from tests.benchmarks.measure import Row, row, timed

QUERIES = Path(__file__).parents[1] / "routing" / "queries.jsonl"
NOW = 1_837_500_000.0
ANY = usable_with(None)  # mechanisms, whatever data they need
PER_INTENT = 300  # texts of a file that are routed, chosen evenly


def run(quick: bool) -> list[Row]:
    queries = [json.loads(line) for line in QUERIES.read_text(encoding="utf-8").splitlines()]
    with tempfile.TemporaryDirectory() as folder:
        encoder, router = open_encoder(Path(folder)), open_router()
        began = time.perf_counter()
        tokens = encoder.token_vectors([query["text"] for query in queries])
        encoding_s = (time.perf_counter() - began) / len(queries)
        catalogue = Snapshot.open(build(list(demo_titles()), collect_interactions([]), NOW, Path(folder) / "snapshots"))
        return [
            *quality(router, queries, tokens),
            *times(router, queries, tokens, catalogue, 300 if quick else 3000),
            row("encode a query, in batches", [encoding_s], "ms", note="before the decision; not part of it"),
        ]


def open_encoder(folder: Path) -> Encoder:
    built = ensure_minilm(folder / "encoder")
    if built is None:
        raise SystemExit("the encoder's weights are not installed: extra `local`")
    return Encoder.open(built)


def quality(router: Router, queries: list[dict[str, Any]], tokens: list[Any]) -> list[Row]:
    answers = [router.route(vectors) for vectors in tokens]
    right = np.array([query["route"] == answer.route for query, answer in zip(queries, answers, strict=True)])
    confidence = np.array([answer.confidence for answer in answers])
    rows = [
        row("accuracy, hand-written queries", [right.mean()], "", 0.94, f"{len(right)} queries", at_least=True),
        row("calibration error, 10 bins", [calibration_error(confidence, right)], "", 0.05),
    ]
    for name in CLASSES:
        own = np.array([query["route"] == name for query in queries])
        rows.append(row(f"accuracy, {name}", [right[own].mean()], "", note=f"{own.sum()} queries"))
    return rows


def times(
    router: Router, queries: list[dict[str, Any]], tokens: list[Any], catalogue: Snapshot, count: int
) -> list[Row]:
    pooled = [vectors.mean(axis=0) for vectors in tokens]
    models = parse_models(RouterSettings().models)
    find_entities(catalogue, "warm up")
    each = [queries[place % len(queries)]["text"] for place in range(count)]
    return [
        row("route, from token vectors", in_turn(router.route, tokens, count), "ms", 0.5, "about 9 tokens"),
        row("route, from the query's vector", in_turn(router.route_embedding, pooled, count), "ms", 0.5),
        row(
            "select attention, from token vectors",
            in_turn(
                lambda vectors: propose(types_of(router.route(vectors)), *observed(counters()), ANY), tokens, count
            ),
            "ms",
            1.0,
            "routing included, every counter in use",
        ),
        row("find what a query names, 890 titles", in_turn(lambda t: find_entities(catalogue, t), each, count), "ms"),
        row("index of names, 890 titles", timed(lambda: build_index(catalogue), 5), "ms", note="once per snapshot"),
        row("choose a model of four", timed(lambda: choose(models, {}, 0.4, 0.004), count), "us"),
    ]


@cache
def counters() -> dict[str, float]:
    """Ten rewards of one half for every mechanism and type of query."""
    found: dict[str, float] = {}
    for query_type in QUERY_TYPES:
        for name in names():
            found |= {key: 10 * value for key, value in reward_counts(query_type, {name: 1.0}, 0.5).items()}
    return found


def in_turn(call: Callable[[Any], object], given: list[Any], count: int) -> list[float]:
    """Seconds of `count` calls, over the given arguments in turn."""
    samples = []
    for place in range(count):
        argument = given[place % len(given)]
        begin = time.perf_counter()
        call(argument)
        samples.append(time.perf_counter() - begin)
    return samples


def rejections(path: Path) -> None:
    """Print, per intent of the file, how many texts are turned down and where the others go."""
    opened = gzip.open if path.suffix == ".gz" else open
    with opened(path, "rt", encoding="utf-8") as stream:
        lines = [json.loads(line) for line in stream]
    intents: dict[str, list[str]] = {}
    for line in lines:
        intents.setdefault(f"{line.get('source', '')} {line.get('intent') or '-'}", []).append(line["text"])
    with tempfile.TemporaryDirectory() as folder:
        encoder, router = open_encoder(Path(folder)), open_router()
        for name, texts in sorted(intents.items()):
            chosen = [texts[place] for place in np.linspace(0, len(texts) - 1, min(PER_INTENT, len(texts))).astype(int)]
            routes = [router.route(vectors).route for vectors in encoder.token_vectors(chosen)]
            counts = {route: routes.count(route) for route in CLASSES if route in routes and route != OUT_OF_DOMAIN}
            turned_down = routes.count(OUT_OF_DOMAIN) / len(routes)
            print(f"{name:<40} {len(chosen):5d} texts, {turned_down:6.1%} out of domain, others {counts}", flush=True)


if __name__ == "__main__":
    rejections(Path(sys.argv[1]))
