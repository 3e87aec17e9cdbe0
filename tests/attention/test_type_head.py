"""The head that reads query types off the router's state, on sentences written by hand and never learned."""

import json
from pathlib import Path
from time import perf_counter

import numpy as np
import pytest

from core.attention import names
from core.attention.select import QUERY_TYPES, TABLE, propose, shares_of, types_of, usable_with
from core.attention.type_head import FILE, SHIPPED, TypeHead, open_head, save_head, shipped_head
from core.attention.type_training import HeadRecipe, fit_softmax, labelled
from core.embedding.encoder import Encoder
from core.errors import CorruptData
from core.routing.router import shipped_router

NOTHING = np.zeros((len(QUERY_TYPES), len(names())))


@pytest.fixture(scope="module")
def queries() -> list[dict[str, str]]:
    lines = (Path(__file__).parent / "type_queries.jsonl").read_text(encoding="utf-8").splitlines()
    return [json.loads(line) for line in lines]


@pytest.fixture(scope="module")
def states(encoder_folder: Path, queries: list[dict[str, str]]) -> np.ndarray:
    tokens = Encoder.open(encoder_folder).token_vectors([query["text"] for query in queries])
    return np.array([shipped_router().state(vectors) for vectors in tokens])


def test_queries_of_the_test_are_not_learned(queries: list[dict[str, str]]) -> None:
    learned = {text.casefold() for text in labelled(HeadRecipe())[0]}
    assert not [query["text"] for query in queries if query["text"].casefold() in learned]
    assert all(sum(query["type"] == name for query in queries) >= 20 for name in QUERY_TYPES)


def test_queries_of_each_type_are_recognised(queries: list[dict[str, str]], states: np.ndarray) -> None:
    wanted = np.array([QUERY_TYPES.index(query["type"]) for query in queries])
    found = shipped_head().chances(states).argmax(axis=1)
    table = np.zeros((len(QUERY_TYPES), len(QUERY_TYPES)), int)
    np.add.at(table, (wanted, found), 1)
    right = table.diagonal() / table.sum(axis=1)
    print(
        "\n"
        + "\n".join(
            f"{name:<16}" + "".join(f"{n:4d}" for n in row) for name, row in zip(QUERY_TYPES, table, strict=True)
        )
    )
    print(f"right {table.trace() / table.sum():.3f}")
    assert table.trace() / table.sum() >= 0.85, table
    assert right.min() >= 0.6, table


def test_the_primary_of_the_type_is_among_the_three_proposed(queries: list[dict[str, str]], states: np.ndarray) -> None:
    chances = shipped_head().chances(states)
    met = [
        TABLE[query["type"]][0] in shares_of(of_type, NOTHING, NOTHING, names())
        for query, of_type in zip(queries, chances, strict=True)
    ]
    assert np.mean(met) >= 0.9


def test_a_choice_takes_less_than_a_millisecond(states: np.ndarray) -> None:
    head, usable, taken = shipped_head(), usable_with(None), []
    for state in states:
        started = perf_counter()
        propose(head.chances(state), NOTHING, NOTHING, usable)
        taken.append(perf_counter() - started)
    assert np.median(taken) < 1e-3


def test_a_routed_query_has_the_types_that_the_head_reads(encoder_folder: Path) -> None:
    router = shipped_router()
    tokens = Encoder.open(encoder_folder).token_vectors(["other films by the director of whiplash"])[0]
    routing = router.route(tokens)
    np.testing.assert_array_equal(types_of(routing), shipped_head().chances(router.state(tokens)))
    assert types_of(routing).sum() == pytest.approx(1, abs=1e-5)
    assert router.route_embedding(tokens.mean(axis=0)).state is not None


def test_the_fit_recovers_a_planted_softmax_and_ridge_draws_it_to_the_shares() -> None:
    rng = np.random.default_rng(0)
    x, planted = rng.normal(size=(4000, 3)), np.array([[2.0, -1.0], [0.0, 1.0], [-1.0, 0.0]])
    logits = x @ planted
    p = 1 / (1 + np.exp(logits[:, 1] - logits[:, 0]))
    shares = np.column_stack([p, 1 - p])
    w, _ = fit_softmax(x, shares, np.ones(len(x)), 1e-9)
    np.testing.assert_allclose(w[:, 0] - w[:, 1], planted[:, 0] - planted[:, 1], atol=1e-3)
    w, b = fit_softmax(x, np.tile([0.8, 0.2], (len(x), 1)), np.ones(len(x)), 10.0)
    assert np.abs(w).max() < 1e-3
    assert np.exp(b[0] - b[1]) == pytest.approx(4, rel=1e-3)


def test_a_head_comes_back_from_its_folder_and_damage_is_noticed(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    weights = rng.normal(size=(5, len(QUERY_TYPES))).astype(np.float32)
    head = TypeHead(weights, np.zeros(len(QUERY_TYPES), np.float32), QUERY_TYPES, "router-1", "types-1")
    save_head(tmp_path, head, {})
    loaded = open_head(tmp_path)
    np.testing.assert_array_equal(loaded.weights, weights)
    assert (loaded.types, loaded.router, loaded.version) == (QUERY_TYPES, "router-1", "types-1")
    blob = bytearray((tmp_path / FILE).read_bytes())
    blob[-1] ^= 1
    (tmp_path / FILE).write_bytes(bytes(blob))
    with pytest.raises(CorruptData):
        open_head(tmp_path)


def test_the_shipped_head_reads_the_shipped_router() -> None:
    assert open_head(SHIPPED).router == shipped_router().version
