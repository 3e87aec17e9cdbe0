"""Mechanisms against their formulas, written independently."""

from __future__ import annotations

import math

import numpy as np
import pytest

from core.attention import attend, init_parameters, weights
from core.attention.hyperbolic import cone_energy
from core.numeric.poincare import gyro_midpoint, log_map, poincare_distance
from tests.attention.reference import by_rows, dot, far, softmax_row


def test_linear_follows_its_formula(qkv):
    q, k, v = qkv

    def phi(x):
        return np.where(x > 0, x + 1, np.exp(np.minimum(x, 0)))

    kernel = phi(q) @ phi(k).T
    assert far(attend("linear", q, k, v), kernel @ v / kernel.sum(axis=1, keepdims=True)) < 1e-5


def test_cosine_alibi_and_temporal_follow_their_formulas(qkv):
    q, k, v = qkv
    angle = by_rows(q, k, v, lambda i, j: 7 * q[i] @ k[j] / np.linalg.norm(q[i]) / np.linalg.norm(k[j]))
    assert far(attend("cosine", q, k, v, tau=7.0), angle) < 1e-12
    slope = by_rows(q, k, v, lambda i, j: dot(q, k)(i, j) - 0.3 * abs(i - j))
    assert far(attend("alibi", q, k, v, positions=np.arange(12), slope=0.3), slope) < 1e-12
    times = 1.7e9 + np.arange(12.0) ** 2  # seconds, which float32 would round to minutes
    aged = by_rows(q, k, v, lambda i, j: dot(q, k)(i, j) - 0.2 * (times[11] - times[j]))
    assert far(attend("temporal", q, k, v, timestamps=times, decay=0.2), aged) < 1e-9
    single = [x.astype(np.float32) for x in (q, k, v)]
    assert far(attend("temporal", *single, timestamps=times, decay=0.2), aged) < 1e-5
    logged = by_rows(q, k, v, lambda i, j: dot(q, k)(i, j) - 0.2 * math.floor(math.log2(1 + times[11] - times[j])))
    assert far(attend("temporal", q, k, v, timestamps=times, decay=0.2, bucketed=True), logged) < 1e-12


def test_sparsemax_is_the_nearest_point_of_the_simplex(qkv):
    q, k, _ = qkv
    w = attend("sparsemax", q, k, np.eye(12))
    z = q @ k.T / 4
    for row, target in zip(w, z, strict=True):  # optimality: the gradient is equal on the support and larger elsewhere
        gradient = row - target
        assert np.ptp(gradient[row > 0]) < 1e-12
        assert gradient[row == 0].min() >= gradient[row > 0].max() - 1e-12
    assert (w == 0).any()


def test_gated_is_a_layer_norm_of_silu_gates(qkv):
    q, k, v = qkv
    z = q @ k.T
    mixed = (z / (1 + np.exp(-z))) @ v / 12
    expected = (mixed - mixed.mean(axis=1, keepdims=True)) / mixed.std(axis=1, keepdims=True)
    assert far(attend("gated", q, k, v), expected) < 1e-4


def test_gat_gatv2_and_edge_featured_follow_their_formulas(qkv):
    q, k, v = qkv
    rng = np.random.default_rng(5)
    adjacency = rng.random((5, 12)) < 0.5
    adjacency[:, 0] = True
    edges = rng.normal(size=(5, 12, 3))

    def leaky(x):
        return np.where(x > 0, x, 0.2 * x)

    p = init_parameters("gat", 16, 8, rng)
    expected = by_rows(
        q,
        k,
        v,
        lambda i, j: leaky(p["a_q"] @ (q[i] @ p["w"]) + p["a_k"] @ (k[j] @ p["w"])) if adjacency[i, j] else -math.inf,
    )
    assert far(attend("gat", q, k, v, adjacency=adjacency, params=p), expected) < 1e-6
    p = init_parameters("gatv2", 16, 8, rng)
    expected = by_rows(
        q, k, v, lambda i, j: p["a"] @ leaky(q[i] @ p["w_q"] + k[j] @ p["w_k"]) if adjacency[i, j] else -math.inf
    )
    assert far(attend("gatv2", q, k, v, adjacency=adjacency, params=p), expected) < 1e-6
    p = init_parameters("edge_featured", 16, 8, rng, d_e=3)
    expected = by_rows(q, k, v, lambda i, j: p["a"] @ leaky(q[i] @ p["w_q"] + k[j] @ p["w_k"] + edges[i, j] @ p["w_e"]))
    assert far(attend("edge_featured", q, k, v, edge_features=edges, params=p), expected) < 1e-6


def test_graphormer_adds_the_biases_of_hops_and_degrees(qkv):
    q, k, v = qkv
    rng = np.random.default_rng(6)
    hops = rng.integers(0, 20, (5, 12)).astype(float)
    hops[0, 0] = np.inf
    p = {"hop_bias": rng.normal(size=10), "degree_bias": rng.normal(size=4)}
    degrees = rng.integers(0, 9, 12)
    expected = by_rows(
        q,
        k,
        v,
        lambda i, j: dot(q, k)(i, j) + p["hop_bias"][int(min(hops[i, j], 9))] + p["degree_bias"][min(degrees[j], 3)],
    )
    assert far(attend("graphormer", q, k, v, hops=hops, degrees=degrees, params=p), expected) < 1e-12


def test_graph_rope_without_distance_is_dot_product_and_knows_unreachable(qkv):
    q, k, v = qkv
    assert far(attend("graph_rope", q, k, v, hops=np.zeros((5, 12))), attend("dot_product", q, k, v)) < 1e-12
    hops = np.random.default_rng(0).integers(0, 40, (5, 12)).astype(float)
    far_away = np.where(hops > 30, np.inf, hops)
    assert np.isfinite(attend("graph_rope", q, k, v, hops=far_away)).all()
    assert far(attend("graph_rope", q, k, v, hops=hops), attend("dot_product", q, k, v)) > 1e-3


def test_dual_space_without_the_hyperbolic_term_is_dot_product(qkv):
    assert far(attend("dual_space", *qkv, weights=(1.0, 0.0)), attend("dot_product", *qkv)) < 1e-12
    assert far(attend("dual_space", *qkv, weights=(1.0, 1.0)), attend("dot_product", *qkv)) > 1e-3


def test_mixed_curvature_with_one_space_is_that_space(inputs):
    case = inputs("mixed_curvature", dtype=np.float64)
    q, k, v = case.q, case.k, case.v
    assert far(attend("mixed_curvature", q, k, v, split=(16, 0, 0)), attend("dot_product", q, k, v)) < 1e-12
    flat = attend("dual_space", q, k, v, weights=(0.0, 2.0))
    assert far(attend("mixed_curvature", q, k, v, split=(0, 16, 0), weights=(1.0, 2.0, 1.0)), flat) < 1e-12
    cos = (q @ k.T) / np.linalg.norm(q, axis=1)[:, None] / np.linalg.norm(k, axis=1)
    assert (
        far(attend("mixed_curvature", q, k, v, split=(0, 0, 16)), by_rows(q, k, v, lambda i, j: -math.acos(cos[i, j])))
        < 1e-9
    )


def test_diffusion_without_steps_away_is_dot_product_and_spreads_along_edges(qkv):
    q, k, v = qkv
    assert far(attend("diffusion", q, k, v, transition=np.eye(12)), attend("dot_product", q, k, v)) < 1e-12
    ring = np.roll(np.eye(12), 1, axis=1)
    start = weights("dot_product", q.astype(np.float32), k.astype(np.float32))
    coefficients = np.array([0.85**t for t in range(4)])
    walked = sum(c * np.roll(start, t, axis=1) for t, c in enumerate(coefficients)) / coefficients.sum()
    assert far(attend("diffusion", q, k, np.eye(12), transition=ring, steps=3), walked) < 1e-6
    heat = sum(2.0**t / math.factorial(t) * np.roll(start, t, axis=1) for t in range(4))
    out = attend("diffusion", q, k, np.eye(12), transition=ring, steps=3, kernel="heat", time=2.0)
    assert far(out, heat / heat.sum(axis=1, keepdims=True)) < 1e-6


def test_diffusion_gates_finished_kernel_rows_by_the_dot_product(qkv):
    q, k, v = qkv
    rows = np.random.default_rng(0).random((5, 12))
    expected = by_rows(q, k, v, lambda i, j: dot(q, k)(i, j) + math.log(rows[i, j]))
    assert far(attend("diffusion", q, k, v, transition=rows), expected) < 1e-12


def test_hierarchical_attends_inside_groups_then_over_their_summaries(qkv):
    q, k, v = qkv
    groups = np.array(list("aabbbbbbbccc"))
    z = q @ k.T / 4
    expected = np.zeros((5, 8))
    for i in range(5):
        inside = {g: softmax_row(z[i, groups == g]) for g in "abc"}
        between = softmax_row([inside[g] @ z[i, groups == g] for g in "abc"])
        expected[i] = sum(b * (inside[g] @ v[groups == g]) for b, g in zip(between, "abc", strict=True))
    assert far(attend("hierarchical", q, k, v, groups=groups), expected) < 1e-12
    assert far(attend("hierarchical", q, k, v, groups=np.zeros(12, int)), attend("dot_product", q, k, v)) < 1e-12


def test_cross_ignores_the_offset_and_scale_of_each_platform(qkv):
    q, k, v = qkv
    assert far(attend("cross", 7 * q + 3, 0.5 * k - 2, v), attend("cross", q, k, v)) < 1e-3
    assert far(attend("dot_product", 7 * q + 3, 0.5 * k - 2, v), attend("dot_product", q, k, v)) > 0.1


def test_target_is_an_unnormalised_multilayer_perceptron(qkv):
    q, k, v = qkv
    p = init_parameters("target", 16, 8, np.random.default_rng(2)).to_arrays()
    p["slope"] = np.full(36, 0.1)
    first = np.concatenate([p["w_q"], p["w_k"], p["w_difference"], p["w_product"]])

    def interest(i, j):
        hidden = np.concatenate([q[i], k[j], q[i] - k[j], q[i] * k[j]]) @ first + p["b_1"]
        return float(np.where(hidden > 0, hidden, p["slope"] * hidden) @ p["w_2"] + p["b_2"][0])

    assert far(attend("target", q, k, v, params=p), by_rows(q, k, v, interest, transform=np.asarray)) < 1e-6


def test_sinkhorn_is_doubly_stochastic():
    rng = np.random.default_rng(0)
    q, k = rng.normal(size=(6, 8)), rng.normal(size=(6, 8))
    plan = attend("sinkhorn", q, k, np.eye(6), iterations=200)
    assert far(plan.sum(axis=0), 1) < 1e-9
    assert far(plan.sum(axis=1), 1) < 1e-12


def test_lsh_sees_only_keys_that_share_a_bucket_and_all_of_them_with_one_bucket_direction(qkv):
    q, k, v = qkv
    p = init_parameters("lsh", 16, 8, np.random.default_rng(0), rounds=1)
    turned = {
        name: np.concatenate([x @ p["rotations"][0], -(x @ p["rotations"][0])], axis=1)
        for name, x in (("q", q), ("k", k))
    }
    of_q, of_k = turned["q"].argmax(axis=1), turned["k"].argmax(axis=1)
    together = of_q[:, None] == of_k
    w = attend("lsh", q, k, np.eye(12), params=p)
    for row, seen in zip(w, together, strict=True):
        assert np.array_equal(row > 0, seen if seen.any() else np.ones(12, bool))
    many = init_parameters("lsh", 16, 8, np.random.default_rng(0), rounds=200)
    assert far(attend("lsh", q, k, v, params=many), attend("dot_product", q, k, v)) < 1e-12


def test_induced_set_does_not_care_about_the_order_of_the_keys(qkv):
    q, k, v = qkv
    order = np.random.default_rng(0).permutation(12)
    assert far(attend("induced_set", q, k[order], v[order]), attend("induced_set", q, k, v)) < 1e-12


def test_graph_rope_scores_are_rotated_products_in_any_layout_of_hops(qkv):
    q, k, v = qkv
    hops = np.random.default_rng(0).integers(0, 40, (5, 12))
    bucket = np.where(hops <= 8, hops, 8 + np.ceil(np.log2(np.maximum(hops, 1))))
    angle = bucket[..., None] * 10000.0 ** (-np.arange(8) / 8)  # (5, 12, 8)
    as_complex = [x[:, :8] + 1j * x[:, 8:] for x in (q, k)]
    z = np.real(np.einsum("id,ijd,jd->ij", as_complex[0].conj(), np.exp(1j * angle), as_complex[1])) / 4
    expected = by_rows(q, k, v, lambda i, j: z[i, j])
    assert far(attend("graph_rope", q, k, v, hops=hops), expected) < 1e-12
    assert far(attend("graph_rope", q[None, :1], k, v, hops=hops[0])[0], expected[:1]) < 1e-12


@pytest.mark.parametrize("name", ["edge_featured", "gatv2"])
def test_many_queries_are_scored_in_blocks_as_they_are_one_by_one(name, inputs):
    case = inputs(name, n_q=50, n=40)
    out = attend(*case, **case.side)
    for i in (0, 24, 25, 26, 49):
        alone = attend(name, case.q[i : i + 1], case.k, case.v, **{key: x[i : i + 1] for key, x in case.side.items()})
        assert far(out[i : i + 1], alone) < 1e-6


def test_edge_features_of_the_keys_alone_serve_every_query(inputs):
    case = inputs("edge_featured")
    shared = case.side["edge_features"][0]
    repeated = np.repeat(shared[None], 5, axis=0)
    assert far(attend(*case, edge_features=shared), attend(*case, edge_features=repeated)) < 1e-6


@pytest.mark.parametrize("c", [0.5, 1.0, 4.0])
def test_cone_energy_is_the_angle_to_the_geodesic_beyond_the_aperture(c):
    rng = np.random.default_rng(0)
    q, k = (x / np.linalg.norm(x, axis=1, keepdims=True) / np.sqrt(c) for x in rng.normal(size=(2, 20, 4)))
    q, k = q * rng.uniform(0.2, 0.9, (20, 1)), k * rng.uniform(0.2, 0.9, (20, 1))
    energy = cone_energy(q, k, c, aperture=0.15)
    for i in range(20):
        length = np.linalg.norm(q[i])
        psi = math.asin(min(1, 0.15 * (1 - c * length**2) / (math.sqrt(c) * length)))
        direction = log_map(k, q[i], c)  # angles in the ball are Euclidean ones
        angle = np.arccos(direction @ q[i] / np.linalg.norm(direction, axis=1) / length)
        assert far(energy[i], np.maximum(0, angle - psi)) < 1e-6


def test_entailment_cone_prefers_descendants_and_the_root_contains_everything():
    genre = np.array([[0.3, 0.0]])
    titles = np.array([[0.8, 0.02], [0.3, 0.0], [0.1, 0.0], [-0.8, 0.0], [0.0, 0.8]])
    below, same, above, opposite, elsewhere = attend("entailment_cone", genre, titles, np.eye(5))[0]
    assert below == pytest.approx(same)
    assert below > elsewhere > opposite
    assert below > 100 * above
    root = attend("entailment_cone", np.zeros((1, 2)), titles, np.eye(5))
    assert far(root, 0.2) < 1e-12


def test_hyperbolic_and_lorentz_weigh_by_distance_and_take_the_midpoint(inputs):
    case = inputs("hyperbolic", dtype=np.float64)
    q, k, v = case.q, case.k * 0.3, case.v
    near = np.stack([softmax_row(-poincare_distance(row, k, 2.0) / 0.5) for row in q])
    out = attend("hyperbolic", q, k, v, curvature=2.0, temperature=0.5)
    assert far(out, np.stack([gyro_midpoint(v, row, 2.0) for row in near])) < 1e-9
    lifted = [np.concatenate([np.sqrt((x * x).sum(1, keepdims=True) + 0.5), x], axis=1) for x in (q, k, v)]
    inner = lifted[0][:, 1:] @ lifted[1][:, 1:].T - np.outer(lifted[0][:, 0], lifted[1][:, 0])
    mixed = np.stack([softmax_row(-row) for row in np.arccosh(-2 * inner) / math.sqrt(2) / 0.5]) @ lifted[2]
    length = np.sqrt(mixed[:, :1] ** 2 - (mixed[:, 1:] ** 2).sum(axis=1, keepdims=True))
    assert far(attend("lorentz", q, k, v, curvature=2.0, temperature=0.5), mixed[:, 1:] / length / math.sqrt(2)) < 1e-9


def test_lsh_rounds_add_up(qkv):
    q, k, _ = qkv
    both = init_parameters("lsh", 16, 12, np.random.default_rng(1), rounds=2)["rotations"]
    seen = [attend("lsh", q, k, np.eye(12), params={"rotations": both[r : r + 1]}) > 0 for r in range(2)]
    sharing = np.array([a.sum() < 12 and b.sum() < 12 for a, b in zip(*seen, strict=True)])  # not those that see all
    together = attend("lsh", q, k, np.eye(12), params={"rotations": both}) > 0
    assert sharing.any()
    assert np.array_equal(together[sharing], (seen[0] | seen[1])[sharing])
    assert (together[sharing] != seen[0][sharing]).any()
