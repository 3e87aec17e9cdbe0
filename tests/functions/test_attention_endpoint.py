"""The attention function through its real entry point: what there is, what suits a query, and every one applied."""

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
from function_client import Function

from core.api.attention_schemas import Data, Family, QueryType
from core.attention import attend, describe, names
from core.attention.select import QUERY_TYPES, TABLE
from core.embedding.encoder import Encoder
from core.embedding.model_store import publish_model
from core.flows.attention import DATA as DATA_NAMES
from core.flows.services import Services
from core.stores.gcs import ensure_bucket

MECHANISMS, SELECT, APPLY, FEEDBACK = (
    f"/api/v1/attention/{name}" for name in ("mechanisms", "select", "apply", "feedback")
)
RNG = np.random.default_rng(5)
Q, K, V = (RNG.normal(size=shape).astype(np.float32) for shape in ((2, 8), (6, 8), (6, 4)))
VECTORS: dict[str, Any] = {"queries": Q.tolist(), "keys": K.tolist(), "values": V.tolist()}
DATA: dict[str, Any] = {
    "hops": [[0, 1, 1, 2, 3, 9], [1, 0, 2, 2, 1, 4]],
    "edge_features": RNG.normal(size=(2, 6, 3)).tolist(),
    "positions": list(range(6)),
    "timestamps": [1.7e9 + 86_400 * day for day in range(6)],
    "adjacency": [[1, 1, 0, 1, 0, 0], [0, 1, 1, 0, 0, 1]],
    "transition": np.full((6, 6), 1 / 6).tolist(),
    "groups": ["drama", "drama", "crime", "crime", "crime", "family"],
}


@pytest.fixture(scope="module")
def attention(deployment: Services, function: Callable[[str], Function], encoder_folder: Path) -> Iterator[Function]:
    """The function in a deployment whose bucket holds the encoder."""
    ensure_bucket(deployment.settings.stores)
    publish_model(deployment.models, encoder_folder)
    return function("attention")


@pytest.fixture(scope="module")
def listed(attention: Function) -> dict[str, dict[str, Any]]:
    return {entry["mechanism"]: entry for entry in attention.ask(MECHANISMS, {})["mechanisms"]}


def test_the_interface_knows_the_librarys_types_families_and_data() -> None:
    assert get_args(QueryType) == QUERY_TYPES
    assert get_args(Data) == DATA_NAMES
    assert set(get_args(Family)) == {describe(name).family for name in names()}
    assert {need for name in names() for need in describe(name).needs} <= set(DATA_NAMES)


def test_all_39_mechanisms_are_listed_with_their_families_and_flags(
    attention: Function, listed: dict[str, dict[str, Any]]
) -> None:
    assert list(listed) == names()
    assert [entry["number"] for entry in listed.values()] == list(range(1, 40))
    assert listed["temporal"]["needs"] == ["timestamps"]
    assert listed["temporal"]["settings"] == ["bucketed", "decay"]
    assert listed["neighborhood"]["instead"] == {"hops": "positions"}
    assert (listed["hyperbolic"]["row_weights"], listed["dot_product"]["row_weights"]) == (False, True)
    assert (listed["gated"]["softmax"], listed["flash"]["softmax"]) == (False, True)
    hyperbolic = attention.ask(MECHANISMS, {"family": "hyperbolic"})
    assert (hyperbolic["total"], [entry["number"] for entry in hyperbolic["mechanisms"]]) == (4, [14, 15, 16, 17])
    assert attention.post(MECHANISMS, {"family": "none"}).status_code == 422


@pytest.mark.parametrize("name", names())
def test_each_mechanism_answers_as_in_the_library_when_it_gets_what_it_says_it_needs(
    attention: Function, listed: dict[str, dict[str, Any]], name: str
) -> None:
    data = {need: DATA[need] for need in listed[name]["needs"]}
    answer = attention.ask(APPLY, {"mechanism": name, "data": data, **VECTORS})
    wanted = attend(name, Q, K, V, **{need: np.array(given) for need, given in data.items()})
    assert answer["output"] == pytest.approx(wanted, abs=1e-6)
    assert answer["mechanisms"] == [{"mechanism": name, "weight": 1.0}]
    if data and not listed[name]["instead"]:
        refused = attention.post(APPLY, {"mechanism": name, **VECTORS})
        assert refused.status_code == 422
        assert listed[name]["needs"][0] in refused.get_json()["message"]


def test_a_combination_is_the_weighted_sum_of_its_parts(attention: Function) -> None:
    parts = [{"mechanism": "dot_product", "weight": 3}, {"mechanism": "cosine", "weight": 1, "settings": {"tau": 2.0}}]
    answer = attention.ask(APPLY, {"mechanisms": parts, "return_weights": True, **VECTORS})
    wanted = 0.75 * attend("dot_product", Q, K, V) + 0.25 * attend("cosine", Q, K, V, tau=2.0)
    assert answer["output"] == pytest.approx(wanted, abs=1e-6)
    assert [part["weight"] for part in answer["mechanisms"]] == [0.75, 0.25]
    rows = np.array(answer["attention_weights"])
    assert rows.sum(axis=1) == pytest.approx([1, 1], abs=1e-5)
    assert rows @ V == pytest.approx(wanted, abs=1e-5)


def test_a_mechanism_without_plain_weights_has_none_to_give(attention: Function) -> None:
    assert attention.ask(APPLY, {"mechanism": "gated", "return_weights": True, **VECTORS})["attention_weights"] is None


def test_a_type_of_query_is_answered_by_the_mechanisms_selected_for_it(attention: Function) -> None:
    answer = attention.ask(APPLY, {"query_type": "cross_platform", "data": {"positions": DATA["positions"]}, **VECTORS})
    weights = {part["mechanism"]: part["weight"] for part in answer["mechanisms"]}
    assert list(weights) == ["cross", "local_global", "dot_product"]
    side = {"local_global": {"positions": np.arange(6)}}
    wanted = sum(weight * attend(name, Q, K, V, **side.get(name, {})) for name, weight in weights.items())
    assert answer["output"] == pytest.approx(wanted, abs=1e-5)
    without = attention.ask(APPLY, {"query_type": "cross_platform", **VECTORS})
    assert "local_global" not in {part["mechanism"] for part in without["mechanisms"]}


@pytest.mark.parametrize(
    "change",
    [
        {"mechanism": "none"},
        {"mechanism": None},
        {"query_type": "similar"},
        {"mechanisms": [{"mechanism": "flash"}]},
        {"mechanism": None, "mechanisms": [{"mechanism": "flash", "weight": 0}]},
        {"mechanism": None, "mechanisms": [{"mechanism": "flash"}] * 9},
        {"settings": {"tau": 1.0}},
        {"settings": {"block": 0}},
        {"settings": {"features": 8}},
        {"data": {"hops": DATA["hops"]}},
        {"mechanism": "graph_rope", "data": {"hops": [[0, 1], [1]]}},
        {"mechanism": "graph_rope", "data": {"hops": [[0, 1], [1, 0]]}},
        {"mechanism": "grouped_query", "data": {"groups": DATA["groups"]}},
        {"queries": []},
        {"queries": [[1.0] * 7]},
        {"queries": [[1.0] * 8, [1.0] * 7]},
        {"queries": [[1e5] * 8]},
        {"queries": [["1.0"] * 8]},
        {"queries": [[1.0] * 8] * 65},
        {"keys": [[1.0] * 8] * 5},
        {"keys": [[0.0]] * 513},
        {"values": [[1.0] * 257] * 6},
    ],
)
def test_what_cannot_be_attended_is_refused(attention: Function, change: dict[str, Any]) -> None:
    answer = attention.post(APPLY, {"mechanism": "flash", **VECTORS, **change})
    assert answer.status_code == 422, answer.get_data(as_text=True)[:300]
    assert answer.get_json()["error"] == "invalid_input"


def test_numbers_that_are_none_are_no_json(attention: Function) -> None:
    body = b'{"mechanism": "flash", "queries": [[NaN]], "keys": [[1.0]], "values": [[1.0]]}'
    assert attention.post(APPLY, body).status_code == 400


def test_shapes_that_do_not_fit_are_both_named(attention: Function) -> None:
    message = attention.post(APPLY, {"mechanism": "flash", **VECTORS, "queries": [[1.0] * 7]}).get_json()["message"]
    assert "shape (1, 7)" in message
    assert "shape (6, 8)" in message


def test_each_type_of_query_has_its_three_mechanisms(attention: Function) -> None:
    for query_type in QUERY_TYPES:
        answer = attention.ask(SELECT, {"query_type": query_type})
        assert answer["query_type"] == query_type
        assert [entry["mechanism"] for entry in answer["mechanisms"]] == [*TABLE[query_type], "dot_product"]
        assert sum(entry["weight"] for entry in answer["mechanisms"]) == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize(
    ("text", "query_type", "first"),
    [
        ("something like the godfather", "similar", "graph_rope"),
        ("is parasite on netflix", "cross_platform", "cross"),
        ("recommend me something i would enjoy", "long_sequence", "flash"),
    ],
)
def test_words_are_read_by_the_router(
    attention: Function, encoder_folder: Path, text: str, query_type: str, first: str
) -> None:
    answer = attention.ask(SELECT, {"query_text": text})
    assert (answer["query_type"], answer["mechanisms"][0]["mechanism"]) == (query_type, first)
    assert sum(answer["query_types"].values()) == pytest.approx(1, abs=1e-4)
    embedding = Encoder.open(encoder_folder).embed([text])[0].astype(float).tolist()
    assert attention.ask(SELECT, {"query_embedding": embedding})["query_type"] == query_type


def test_only_what_the_caller_has_data_for_is_proposed(attention: Function) -> None:
    answer = attention.ask(SELECT, {"query_type": "similar", "available": ["edge_features"]})
    chosen = [entry["mechanism"] for entry in answer["mechanisms"]]
    assert chosen[0] == "edge_featured"
    assert "graph_rope" not in chosen


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"query_type": "none"},
        {"query_type": "similar", "query_text": "like heat"},
        {"query_text": ""},
        {"query_embedding": [0.1, 0.2]},
        {"query_type": "similar", "available": ["luck"]},
    ],
)
def test_a_selection_that_cannot_be_read_is_refused(attention: Function, body: dict[str, Any]) -> None:
    assert attention.post(SELECT, body).status_code == 422


def test_rewards_of_a_service_change_the_selection_of_their_type(attention: Function, deployment: Services) -> None:
    body = {"query_type": "multi_hop", "mechanism": "diffusion", "reward": 1.0}
    assert attention.post(FEEDBACK, body).status_code == 403
    for _ in range(40):
        assert attention.post(FEEDBACK, body, roles=("service",)).status_code == 202
    deployment.routing.flush(time.time())
    deployment.routing.learned(time.time(), fresh=True)
    first = attention.ask(SELECT, {"query_type": "multi_hop"})["mechanisms"][0]
    assert (first["mechanism"], first["trials"]) == ("diffusion", 40)
    assert first["expected_reward"] == pytest.approx(0.88)
    assert attention.ask(SELECT, {"query_type": "similar"})["mechanisms"][0]["mechanism"] == "graph_rope"
    for wrong in ({"mechanism": "none"}, {"reward": 1.5}, {"mechanism": None}, {"query_type": "none"}):
        assert attention.post(FEEDBACK, body | wrong, roles=("service",)).status_code == 422


def test_health_names_the_encoder(attention: Function) -> None:
    answer = attention.client.get("/health").get_json()
    assert answer["service"] == "attention"
    assert answer["encoder"].startswith("all-minilm")


def test_a_token_is_needed(attention: Function) -> None:
    assert attention.post(MECHANISMS, {}, user=None).status_code == 401
