"""What every mechanism promises: all 39 run through the same cases."""

from __future__ import annotations

import re

import numpy as np
import pytest

from core.attention import attend, describe, init_parameters, names, weights
from core.attention.parameters import RECIPES, Parameters
from core.errors import InvalidInput

ALL = names()
SOFTMAX = names(softmax=True)
WEIGHTED = names(row_weights=True)
LOSSY = {"latent": {"rank": 8}, "linformer": {"length": 4}}  # with the default sizes these are exact on small inputs
EXPECTED = {
    "core": "dot_product multi_head flash linear moe multi_query grouped_query latent causal performer cosine gated "
    "sparsemax",
    "hyperbolic": "hyperbolic lorentz entailment_cone mixed_curvature",
    "graph": "dual_space graph_rope edge_featured local_global gat gatv2 graphormer diffusion",
    "specialized": "neighborhood sparse cross hierarchical sliding_window big_bird alibi temporal target lsh nystrom "
    "linformer induced_set sinkhorn",
}


def test_the_registry_holds_the_39_in_the_order_of_their_numbers():
    assert [describe(name).number for name in ALL] == list(range(1, 40))
    assert {family: " ".join(names(family)) for family in EXPECTED} == EXPECTED
    assert all(describe(name).source for name in ALL)


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_output_has_one_finite_row_per_query_in_the_dtype_of_the_input(name, dtype, inputs):
    case = inputs(name, dtype=dtype)
    out = attend(*case, **case.side)
    assert out.shape == (5, 8)
    assert out.dtype == dtype
    assert np.isfinite(out).all()


@pytest.mark.parametrize("name", ALL)
def test_float32_agrees_with_float64(name, inputs):
    case = inputs(name)
    single = attend(*case, **case.side)
    double = attend(name, *(x.astype(np.float64) for x in (case.q, case.k, case.v)), **case.side)
    # The pseudo-inverse and the layer norm of near-constant rows amplify rounding.
    assert np.abs(single - double).max() < (2e-3 if name in ("nystrom", "gated") else 2e-5)


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize("direction", ["random", "negative", "zero"])
def test_inputs_of_norm_1000_and_of_norm_0_stay_finite(name, direction, inputs):
    case = inputs(name)
    factor = 0.0 if direction == "zero" else 1e3

    def stretch(x):
        x = -np.abs(x) if direction == "negative" else x
        return (factor * x / np.linalg.norm(x, axis=-1, keepdims=True)).astype(np.float32)

    out = attend(name, stretch(case.q), stretch(case.k), stretch(case.v), **case.side)
    assert np.isfinite(out).all()


@pytest.mark.parametrize("name", ALL)
def test_a_batch_equals_a_loop(name, inputs):
    case = inputs(name, batch=(2, 3))
    out = attend(*case, **case.side)
    assert out.shape == (2, 3, 5, 8)
    for i in np.ndindex(2, 3):
        one = attend(name, case.q[i], case.k[i], case.v[i], **{key: x[i] for key, x in case.side.items()})
        assert np.abs(out[i] - one).max() < 2e-5


@pytest.mark.parametrize("name", ALL)
def test_leading_axes_broadcast_and_side_inputs_are_shared(name, inputs):
    case = inputs(name)
    many = np.stack([case.q, 2 * case.q])
    out = attend(name, many, case.k, case.v[None], **case.side)
    assert out.shape == (2, 5, 8)
    assert np.abs(out[0] - attend(*case, **case.side)).max() < 2e-5


@pytest.mark.parametrize("name", ALL)
def test_the_same_call_gives_the_same_bits_and_changes_no_input(name, inputs):
    case, again = inputs(name), inputs(name)
    first = attend(*case, **case.side)
    assert np.array_equal(first, attend(*case, **case.side))
    assert all(np.array_equal(x, y) for x, y in zip((case.q, case.k, case.v), (again.q, again.k, again.v), strict=True))
    assert all(np.array_equal(case.side[key], again.side[key]) for key in case.side)


@pytest.mark.parametrize("name", ALL)
def test_the_keys_matter(name, inputs):
    case = inputs(name)
    other = attend(name, case.q, 3 * case.k[::-1], case.v, **case.side)
    assert np.abs(other - attend(*case, **case.side)).max() > 1e-4


@pytest.mark.parametrize("name", SOFTMAX)
def test_equal_values_give_that_value(name, inputs):
    case = inputs(name)
    value = case.v[:1]
    out = attend(name, 3 * case.q, 3 * case.k, np.repeat(value, len(case.v), axis=0), **case.side)
    assert np.abs(out - value).max() < 1e-5


@pytest.mark.parametrize("name", SOFTMAX)
def test_a_single_key_gives_its_value(name, inputs):
    case = inputs(name, n=1)
    assert np.abs(attend(*case, **case.side) - case.v).max() < 1e-5


@pytest.mark.parametrize("name", WEIGHTED)
def test_weights_are_not_negative_sum_to_one_and_mix_the_values(name, inputs):
    case = inputs(name)
    w = weights(name, case.q, case.k, **case.side)
    assert w.shape == (5, 12)
    assert w.dtype == np.float32
    assert w.min() >= 0
    assert np.abs(w.sum(axis=-1) - 1).max() < 1e-5
    assert np.abs(w @ case.v - attend(*case, **case.side)).max() < 1e-5


@pytest.mark.parametrize("name", sorted(set(ALL) - set(WEIGHTED)))
def test_mechanisms_without_a_plain_weight_row_refuse_to_give_one(name, inputs):
    case = inputs(name)
    with pytest.raises(InvalidInput, match="no plain weight row"):
        weights(name, case.q, case.k, **case.side)


@pytest.mark.parametrize("name", ALL)
def test_shapes_that_do_not_fit_are_refused_with_both_shapes(name, inputs):
    case = inputs(name)
    wrong = [
        (case.q, case.k[:, :-1], case.v, "(5, 16)", "(12, 15)"),
        (case.q, case.k, case.v[:-1], "(12, 16)", "(11, 8)"),
        (case.q, case.k[:0], case.v[:0], "shape", "(0, 16)"),
        (case.q[0], case.k, case.v, "shape", "(16,)"),
        (np.stack([case.q] * 2), np.stack([case.k] * 3), case.v, "(2, 5, 16)", "(3, 12, 16)"),
    ]
    for q, k, v, first, second in wrong:
        with pytest.raises(InvalidInput) as caught:
            attend(name, q, k, v, **case.side)
        message = str(caught.value)
        assert "shape" in message
        assert first in message
        assert second in message


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_nan_and_infinity_are_refused(name, bad, inputs):
    for spoilt in ("q", "k", "v"):
        case = inputs(name)
        getattr(case, spoilt)[1, 2] = bad
        with pytest.raises(InvalidInput, match=f"{spoilt} contains NaN or infinity"):
            attend(*case, **case.side)


@pytest.mark.parametrize("name", [name for name in ALL if describe(name).needs])
def test_a_missing_or_ill_fitting_side_input_is_named(name, inputs):
    case = inputs(name)
    (need,) = describe(name).needs
    with pytest.raises(InvalidInput, match=re.escape(f"{name} attention needs ['{need}']")):
        attend(*case)
    with pytest.raises(InvalidInput, match=f"{need} has shape"):
        attend(*case, **{need: case.side[need][..., :-1, :-1] if case.side[need].ndim > 1 else case.side[need][:-1]})
    spoilt = case.side[need].astype(float)
    spoilt.flat[0] = np.nan
    with pytest.raises(InvalidInput, match=f"{need} contains NaN"):
        attend(*case, **{need: spoilt})


@pytest.mark.parametrize("name", ALL)
def test_an_unknown_side_input_is_refused(name, inputs):
    case = inputs(name)
    with pytest.raises(InvalidInput, match=r"knows no \['temperatur'\]"):
        attend(*case, **case.side, temperatur=1)


def test_an_unknown_name_lists_the_nearest_ones(inputs):
    case = inputs("dot_product")
    with pytest.raises(InvalidInput, match="hyperbolic"):
        attend("hyperbollic", case.q, case.k, case.v)


@pytest.mark.parametrize(
    ("name", "setting"),
    [
        ("multi_head", {"heads": 3}),
        ("multi_head", {"heads": 0}),
        ("grouped_query", {"heads": 4, "groups": 3}),
        ("flash", {"block": 0}),
        ("cosine", {"tau": 0.0}),
        ("hyperbolic", {"curvature": -1.0}),
        ("moe", {"top_k": 5}),
        ("moe", {"experts": ("dot_product", "gat", "linear", "cosine")}),
        ("mixed_curvature", {"split": (1, 2, 3)}),
        ("sinkhorn", {"iterations": 0}),
        ("performer", {"features": 0}),
        ("nystrom", {"landmarks": 0}),
        ("dual_space", {"weights": (1.0,)}),
        ("diffusion", {"kernel": "heart"}),
        ("temporal", {"decay": -0.1}),
    ],
)
def test_settings_out_of_range_are_refused(name, setting, inputs):
    case = inputs(name)
    with pytest.raises(InvalidInput):
        attend(*case, **case.side, **setting)


def fresh(name, rng):
    data = {"edge_featured": {"d_e": 3}, "linformer": {"n": 12}}.get(name, {})
    return init_parameters(name, 16, 8, rng, **data, **LOSSY.get(name, {}))


@pytest.mark.parametrize("name", RECIPES)
def test_parameters_are_seeded_float32_and_survive_a_file(name, inputs, tmp_path):
    case = inputs(name)
    made = fresh(name, np.random.default_rng(3))
    same, other = fresh(name, np.random.default_rng(3)), fresh(name, np.random.default_rng(4))
    assert all(array.dtype == np.float32 for array in made.arrays.values())
    assert all(np.array_equal(made[key], same[key]) for key in made.arrays)
    assert any(not np.array_equal(made[key], other[key]) for key in made.arrays)
    np.savez(tmp_path / "made.npz", **made.to_arrays())
    loaded = Parameters.from_arrays(name, dict(np.load(tmp_path / "made.npz")))
    out = attend(*case, **case.side, params=loaded)
    assert np.array_equal(out, attend(*case, **case.side, params=made.to_arrays()))
    assert np.array_equal(out, attend(*case, **case.side, rng=np.random.default_rng(3), **LOSSY.get(name, {})))
    assert np.abs(out - attend(*case, **case.side, params=other)).max() > 1e-6


@pytest.mark.parametrize("name", RECIPES)
def test_parameters_that_do_not_fit_are_refused(name, inputs):
    case = inputs(name)
    arrays = fresh(name, np.random.default_rng(0)).to_arrays()
    key = next(iter(arrays))
    with pytest.raises(InvalidInput, match="shape"):
        attend(*case, **case.side, params=arrays | {key: arrays[key][None]})
    with pytest.raises(InvalidInput, match="parameters of"):
        attend(*case, **case.side, params={**arrays, "extra": np.zeros(1)})
    with pytest.raises(InvalidInput, match="NaN"):
        attend(*case, **case.side, params=arrays | {key: arrays[key] * np.float32(np.nan)})


@pytest.mark.parametrize("name", ["multi_head", "multi_query", "grouped_query", "cross"])
def test_untrained_projections_hardly_change_the_answer(name, inputs):
    case = inputs(name)
    with_params = attend(*case, params=init_parameters(name, 16, 8))
    assert 0 < np.abs(with_params - attend(*case)).max() < 0.05


def test_parameters_of_another_mechanism_are_refused(inputs):
    case = inputs("performer")
    with pytest.raises(InvalidInput, match="lsh"):
        attend(*case, params=init_parameters("lsh", 16))
