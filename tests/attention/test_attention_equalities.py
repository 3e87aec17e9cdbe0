"""Mechanisms that must equal another one exactly, see exactly their keys, or approach dot_product."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest

from core.attention import attend, init_parameters
from core.attention.dense import flash_forward
from core.attention.efficient import segment_means
from tests.attention.reference import by_rows, dot, far, masked


def test_dot_product_follows_its_formula(qkv):
    q, k, v = qkv
    assert far(attend("dot_product", q, k, v), by_rows(q, k, v, dot(q, k))) < 1e-12


@pytest.mark.parametrize("block", [1, 5, 12, 100])
def test_flash_equals_dot_product(block, qkv):
    q, k, v = qkv
    assert far(attend("flash", q, k, v, block=block), attend("dot_product", q, k, v)) < 1e-12


@pytest.mark.parametrize("block", [1, 5, 100])
def test_causal_flash_equals_causal(block, qkv):
    q, k, v = qkv
    assert far(attend("flash", q, k, v, block=block, causal=True), attend("causal", q, k, v)) < 1e-12


def test_flash_never_holds_the_whole_score_matrix():
    rng = np.random.default_rng(0)
    q, k = (rng.normal(size=(2048, 8)).astype(np.float32) for _ in range(2))
    tracemalloc.start()
    flash_forward(q, k, k, block=64)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2048 * 2048 * 4 / 4


def test_multi_head_with_one_head_equals_dot_product(qkv):
    assert far(attend("multi_head", *qkv, heads=1), attend("dot_product", *qkv)) < 1e-12


def test_multi_head_is_dot_product_on_each_slice(qkv):
    q, k, v = qkv
    slices = [
        attend("dot_product", q[:, 4 * h : 4 * h + 4], k[:, 4 * h : 4 * h + 4], v[:, 2 * h : 2 * h + 2])
        for h in range(4)
    ]
    assert far(attend("multi_head", q, k, v, heads=4), np.concatenate(slices, axis=1)) < 1e-12


def test_multi_head_applies_its_projections(qkv):
    q, k, v = qkv
    p = init_parameters("multi_head", 16, 8, np.random.default_rng(1))
    inner = attend("multi_head", q @ p["w_q"], k @ p["w_k"], v @ p["w_v"], heads=4)
    assert far(attend("multi_head", q, k, v, heads=4, params=p), inner @ p["w_o"]) < 1e-6


def test_grouped_query_with_as_many_groups_as_heads_is_multi_head(qkv):
    assert far(attend("grouped_query", *qkv, heads=4, groups=4), attend("multi_head", *qkv, heads=4)) < 1e-12


def test_grouped_query_with_one_group_is_multi_query(qkv):
    assert np.array_equal(attend("grouped_query", *qkv, heads=4, groups=1), attend("multi_query", *qkv, heads=4))


def test_multi_query_heads_share_the_mean_of_the_key_slices(qkv):
    q, k, v = qkv
    shared = np.mean([k[:, 4 * h : 4 * h + 4] for h in range(4)], axis=0)
    heads = [attend("dot_product", q[:, 4 * h : 4 * h + 4], shared, v) for h in range(4)]
    assert far(attend("multi_query", q, k, v, heads=4), np.mean(heads, axis=0)) < 1e-12


def test_neighborhood_with_infinite_radius_is_dot_product(qkv):
    hops = np.random.default_rng(0).integers(0, 9, (5, 12))
    assert far(attend("neighborhood", *qkv, hops=hops, radius=np.inf), attend("dot_product", *qkv)) < 1e-12


def test_neighborhood_by_positions_is_a_sliding_window(qkv):
    positions = np.arange(12)
    near = attend("neighborhood", *qkv, positions=positions, radius=2)
    assert far(near, attend("sliding_window", *qkv, positions=positions, window=2)) == 0


def test_sliding_window_with_infinite_window_is_dot_product(qkv):
    out = attend("sliding_window", *qkv, positions=np.arange(12), window=np.inf)
    assert far(out, attend("dot_product", *qkv)) < 1e-12


@pytest.mark.parametrize(
    ("name", "side", "visible"),
    [
        ("causal", {}, lambda i, j: j <= i),
        ("sliding_window", {"positions": np.arange(12), "window": 2}, lambda i, j: abs(i - j) <= 2),
        (
            "local_global",
            {"positions": np.arange(12), "window": 1, "globals": 2},
            lambda i, j: abs(i - j) <= 1 or j < 2,
        ),
        ("sparse", {"stride": 4}, lambda i, j: i // 4 == j // 4 or j % 4 == 3 or (i - j) % 4 == 0),
        ("neighborhood", {"hops": np.arange(60).reshape(5, 12) % 7, "radius": 3}, lambda i, j: (12 * i + j) % 7 <= 3),
    ],
)
def test_masked_mechanisms_see_exactly_their_keys(name, side, visible, qkv):
    assert far(attend(name, *qkv, **side), masked(*qkv, visible)) < 1e-12


def test_positions_other_than_row_numbers_decide_what_is_near(qkv):
    q, k, v = qkv
    positions, asked = 10 * np.arange(12), np.array([0, 30, 55, 110, 111])
    out = attend("sliding_window", q, k, v, positions=positions, query_positions=asked, window=10)
    assert far(out, masked(q, k, v, lambda i, j: abs(asked[i] - 10 * j) <= 10)) < 1e-12


def test_a_query_before_every_key_has_seen_nothing(qkv):
    q, k, v = qkv
    out = attend("causal", q, k, v, positions=np.arange(12), query_positions=np.array([-1, 0, 0, 0, 0]))
    assert np.array_equal(out[0], np.zeros(8))
    assert far(out[1], v[0]) < 1e-12


def test_an_isolated_node_sees_all_keys(qkv):
    q, k, v = qkv
    hops = np.full((5, 12), 9)
    assert far(attend("neighborhood", q, k, v, hops=hops, radius=2), attend("dot_product", q, k, v)) < 1e-12


def test_big_bird_sees_window_globals_and_its_random_keys(qkv):
    q, k, v = qkv
    p = {"random_keys": np.array([[0.5, 0.999], [0.0, 0.75]])}
    drawn = [{6, 11}, {0, 9}]
    out = attend("big_bird", q, k, v, positions=np.arange(12), window=1, globals=1, params=p)
    assert far(out, masked(q, k, v, lambda i, j: abs(i - j) <= 1 or j < 1 or j in drawn[i % 2])) < 1e-12


def test_latent_of_full_rank_is_dot_product_and_lower_ranks_lose_more(qkv):
    exact = attend("dot_product", *qkv)
    errors = [far(attend("latent", *qkv, rank=rank), exact) for rank in (4, 16, 24)]
    assert errors[2] < 1e-5 < errors[1] < errors[0]


def test_moe_with_all_experts_and_equal_gates_is_their_mean(qkv):
    experts = ("dot_product", "cosine")
    out = attend("moe", *qkv, experts=experts, top_k=2, params={"gate": np.zeros((2, 16))})
    assert far(out, (attend("dot_product", *qkv) + attend("cosine", *qkv)) / 2) < 1e-12


def test_moe_sends_each_query_to_the_expert_its_gate_prefers(qkv):
    q, k, v = qkv
    gate = np.stack([q[0], -q[0]]) * 10
    out = attend("moe", q, k, v, experts=("dot_product", "cosine"), top_k=1, params={"gate": gate})
    assert far(out[0], attend("dot_product", q, k, v)[0]) < 1e-12
    opposite = attend("moe", -q, k, v, experts=("dot_product", "cosine"), top_k=1, params={"gate": gate})
    assert far(opposite[0], attend("cosine", -q, k, v)[0]) < 1e-12


def relative_error(out, exact):
    return float(np.linalg.norm(out - exact) / np.linalg.norm(exact))


def gaussian(seed, d=32, n=64, scale=0.5):
    rng = np.random.default_rng(seed)
    q, k = (scale * rng.normal(size=(n, d)) for _ in range(2))
    return tuple(x.astype(np.float32) for x in (q, k, rng.normal(size=(n, d))))


def test_performer_error_falls_with_features():
    errors = []
    for features in (16, 128, 1024):
        runs = []
        for seed in range(8):
            q, k, v = gaussian(seed)
            out = attend("performer", q, k, v, features=features, rng=np.random.default_rng(100 + seed))
            runs.append(relative_error(out, attend("dot_product", q, k, v)))
        errors.append(np.mean(runs))
    assert errors[1] < 0.75 * errors[0]
    assert errors[2] < 0.6 * errors[1]


def test_performer_converges_to_dot_product():
    q, k, v = gaussian(0, d=8, scale=0.5)
    out = attend("performer", q, k, v, features=20000, rng=np.random.default_rng(0))
    assert relative_error(out, attend("dot_product", q, k, v)) < 0.02


@pytest.mark.parametrize("setting", ["landmarks", "length"])
def test_nystrom_and_linformer_errors_fall_with_size_to_zero(setting):
    name = "nystrom" if setting == "landmarks" else "linformer"
    errors = []
    for size in (8, 32, 64):
        runs = []
        for seed in range(8):
            q, k, v = gaussian(seed)
            runs.append(relative_error(attend(name, q, k, v, **{setting: size}), attend("dot_product", q, k, v)))
        errors.append(np.mean(runs))
    assert errors[0] > errors[1] > errors[2]
    assert errors[2] < (5e-3 if name == "nystrom" else 1e-6)


@pytest.mark.parametrize("scale", [0.5, 1.0])
@pytest.mark.parametrize("name", ["linear", "performer"])
def test_kernel_attention_beats_the_mean_of_the_values(name, scale):
    ours, mean = [], []
    for seed in range(8):
        q, k, v = gaussian(seed, scale=scale)
        exact = attend("dot_product", q, k, v)
        ours.append(relative_error(attend(name, q, k, v), exact))
        mean.append(relative_error(np.broadcast_to(v.mean(axis=0), v.shape), exact))
    assert np.mean(ours) < np.mean(mean)


def test_nystrom_keeps_equal_values_although_its_weights_may_be_negative():
    q, k, v = gaussian(0, scale=2.0)
    out = attend("nystrom", q, k, np.broadcast_to(v[:1], v.shape), landmarks=8)
    assert far(out, v[:1]) < 1e-4


def test_segment_means_cover_every_row_once():
    x = np.arange(10.0)[:, None]
    assert np.array_equal(segment_means(x, 10), x)
    assert np.array_equal(segment_means(x, 4)[:, 0], [0.5, 3, 5.5, 8])
