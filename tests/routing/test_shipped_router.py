"""The router that ships, on queries written by hand before it was trained and never used for training or tuning."""

import re
from typing import Any

import numpy as np
import pytest
from router_queries import read

from core.embedding.encoder import Encoder
from core.embedding.model_folder import read_manifest
from core.routing.calibrate import calibration_error
from core.routing.corpus import hand_written
from core.routing.router import FILE, MAX_BYTES, SHIPPED, Router, Routing
from core.routing.routes import CLASSES, OUT_OF_DOMAIN, ROUTES


@pytest.fixture(scope="module")
def queries() -> list[dict[str, Any]]:
    return read("queries.jsonl")


@pytest.fixture(scope="module")
def tokens(encoder: Encoder, queries: list[dict[str, Any]]) -> list[Any]:
    return encoder.token_vectors([query["text"] for query in queries])


@pytest.fixture(scope="module")
def answers(router: Router, tokens: list[Any]) -> list[Routing]:
    return [router.route(vectors) for vectors in tokens]


def confusion(queries: list[dict[str, Any]], answers: list[Routing]) -> str:
    table = np.zeros((len(CLASSES), len(CLASSES)), int)
    for query, answer in zip(queries, answers, strict=True):
        table[CLASSES.index(query["route"]), CLASSES.index(answer.route)] += 1
    rows = [f"{name:<20}" + "".join(f"{count:5d}" for count in row) for name, row in zip(CLASSES, table, strict=True)]
    return "\n" + "\n".join(rows)


def test_the_test_set_has_a_hundred_queries_of_each_kind_and_none_is_learned(queries: list[dict[str, Any]]) -> None:
    for name in CLASSES:
        assert sum(query["route"] == name for query in queries) >= 100
    plain = lambda text: re.sub(r"[^a-z0-9 ]", "", text.lower()).strip()  # noqa: E731
    tested = {plain(query["text"]) for query in [*queries, *read("mixed_queries.jsonl")]}
    assert not tested & {plain(sentence.text) for sentence in hand_written()}


def test_at_least_94_percent_are_routed_right(queries: list[dict[str, Any]], answers: list[Routing]) -> None:
    right = [query["route"] == answer.route for query, answer in zip(queries, answers, strict=True)]
    assert np.mean(right) >= 0.94, confusion(queries, answers)


def test_confidence_is_the_share_that_is_right(queries: list[dict[str, Any]], answers: list[Routing]) -> None:
    right = np.array([query["route"] == answer.route for query, answer in zip(queries, answers, strict=True)])
    assert calibration_error(np.array([answer.confidence for answer in answers]), right) < 0.05


def test_nine_of_ten_are_among_the_plausible_classes(queries: list[dict[str, Any]], answers: list[Routing]) -> None:
    covered = [query["route"] in answer.plausible for query, answer in zip(queries, answers, strict=True)]
    assert np.mean(covered) >= 0.9
    assert np.mean([len(answer.plausible) for answer in answers]) < 2


def test_most_of_what_is_no_query_for_titles_is_turned_down(
    queries: list[dict[str, Any]], answers: list[Routing]
) -> None:
    pairs = [
        (query["route"] == OUT_OF_DOMAIN, answer.route == OUT_OF_DOMAIN)
        for query, answer in zip(queries, answers, strict=True)
    ]
    assert np.mean([refused for foreign, refused in pairs if foreign]) >= 0.85
    assert np.mean([refused for foreign, refused in pairs if not foreign]) <= 0.03
    assert all(not answer.routes for answer in answers if answer.route == OUT_OF_DOMAIN)


def test_mixed_queries_take_all_their_routes(encoder: Encoder, router: Router) -> None:
    mixed = read("mixed_queries.jsonl")
    found = [{name for name, _ in router.route(v).routes} for v in encoder.token_vectors([q["text"] for q in mixed])]
    wanted = [set(query["routes"]) for query in mixed]
    hits = sum(len(ours & theirs) for ours, theirs in zip(found, wanted, strict=True))
    assert 2 * hits / (sum(map(len, found)) + sum(map(len, wanted))) >= 0.85
    assert all(
        answer[0][0] in ROUTES for answer in [router.route(v).routes for v in encoder.token_vectors(["new films"])]
    )


def test_a_pooled_embedding_alone_is_routed_nearly_as_well(
    router: Router, queries: list[dict[str, Any]], tokens: list[Any], answers: list[Routing]
) -> None:
    pooled = [vectors.mean(axis=0) for vectors in tokens]
    right = [router.route_embedding(v).route == q["route"] for v, q in zip(pooled, queries, strict=True)]
    assert np.mean(right) >= 0.9


def test_one_query_is_routed_as_a_batch_is(router: Router, tokens: list[Any], answers: list[Routing]) -> None:
    from core.numeric.activations import softmax
    from core.routing.sequences import sequence
    from core.routing.training import logits

    classes, _ = logits(router.network, [sequence(vectors) for vectors in tokens[:40]])
    chances = softmax(classes / router.calibration.temperature)
    single = np.array([[answer.chances[name] for name in CLASSES] for answer in answers[:40]])
    np.testing.assert_allclose(single, chances, atol=1e-4)


def test_it_is_small_and_says_how_it_was_made() -> None:
    manifest = read_manifest(SHIPPED)
    assert (SHIPPED / FILE).stat().st_size <= MAX_BYTES
    assert 150_000 <= manifest.facts["parameters"] <= 250_000
    assert manifest.facts["command"] == "sona train router"
    assert {"seed", "hidden", "epochs"} <= manifest.facts["recipe"].keys()
