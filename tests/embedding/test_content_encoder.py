"""The trained encoders as model folders run by onnxruntime."""

import numpy as np
import pytest

from core.catalog import Title, content_key
from core.embedding.content_encoder import ContentEncoder, padded_terms, write_content_encoder
from core.embedding.content_encoder_network import encode_titles, start_content
from core.embedding.content_encoder_pair import EncoderPair
from core.embedding.features import Vocabulary
from core.embedding.user_encoder import UserEncoder, write_user_encoder
from core.embedding.user_encoder_network import UserWeights, encode_users
from core.errors import CorruptData, InvalidInput
from core.snapshot.text import TextVectors

DIMS, TEXT_DIMS = 16, 3
TITLES = [
    Title(f"t{i}", f"Title {i}", year=1980 + i, genres=(("horror", "comedy", "drama")[i % 3],), keywords=(f"k{i % 4}",))
    for i in range(12)
]


@pytest.fixture(scope="module")
def rng():
    return np.random.default_rng(3)


@pytest.fixture(scope="module")
def weights(rng):
    content = start_content(len(Vocabulary.of(TITLES)), TEXT_DIMS, rng, dims=DIMS)
    user = UserWeights(
        *(rng.normal(0, 1, shape).astype(np.float32) for shape in ((DIMS, 8), (8,), (DIMS, DIMS), (DIMS,)))
    )
    return content, user


@pytest.fixture(scope="module")
def folders(weights, tmp_path_factory):
    content, user = weights
    folder = tmp_path_factory.mktemp("models")
    write_content_encoder(folder / "content", "v1", content, Vocabulary.of(TITLES), {"text_version": "text-1"})
    write_user_encoder(folder / "user", "v1", user)
    return folder / "content", folder / "user"


def test_onnxruntime_computes_what_training_computed(weights, folders, rng):
    text = rng.normal(0, 1, (12, TEXT_DIMS)).astype(np.float32)
    found = ContentEncoder.open(folders[0]).embed(TITLES, text)
    expected = encode_titles(weights[0], Vocabulary.of(TITLES).features(TITLES), text).vectors
    np.testing.assert_allclose(found, expected, atol=2e-3)  # the table is stored in half precision
    np.testing.assert_allclose(np.linalg.norm(found, axis=1), 1, atol=1e-4)


def test_onnxruntime_pools_histories_as_training_did(weights, folders, rng):
    history = rng.normal(0, 1, (5, 4, DIMS)).astype(np.float32)
    strength = np.array([[1, 0, 0, 0], [0.5, 0.2, 0, 0], [1, 2, 3, 4], [0, 0, 0, 1], [0, 0, 0, 0]], np.float32)
    found = UserEncoder.open(folders[1]).embed(history, strength)
    raw = encode_users(weights[1], history, strength).vectors
    np.testing.assert_allclose(found, raw / np.linalg.norm(raw, axis=1, keepdims=True), atol=1e-5)


def test_who_liked_nothing_is_taken_for_everybody(weights, folders):
    user = UserEncoder.open(folders[1])
    everybody = weights[1].shift / np.linalg.norm(weights[1].shift)
    np.testing.assert_allclose(user.embed(np.zeros((1, 0, DIMS)), np.zeros((1, 0)))[0], everybody, atol=1e-5)


def test_a_title_nobody_has_met_gets_its_vector_at_once(folders):
    new = Title("new", "Brand New", year=1985, genres=("horror",), keywords=("k1", "never seen before"))
    vector = ContentEncoder.open(folders[0]).embed([new])[0]
    assert vector.shape == (DIMS,)
    assert np.isfinite(vector).all()
    assert vector @ ContentEncoder.open(folders[0]).embed([TITLES[9]])[0] > 0.5  # horror of the eighties, too


def test_text_vectors_of_another_shape_or_sick_histories_are_refused(folders):
    with pytest.raises(InvalidInput):
        ContentEncoder.open(folders[0]).embed(TITLES, np.zeros((12, TEXT_DIMS + 1), np.float32))
    user = UserEncoder.open(folders[1])
    for history, strength in (
        (np.full((1, 1, DIMS), np.nan), np.ones((1, 1))),
        (np.ones((1, 1, DIMS)), -np.ones((1, 1))),
        (np.ones((1, 1, DIMS - 1)), np.ones((1, 1))),
    ):
        with pytest.raises(InvalidInput):
            user.embed(history, strength)


def test_text_of_another_version_is_left_aside(folders, rng):
    pair = EncoderPair.open(*folders)
    keys = np.array([content_key(title.content_id) for title in TITLES], np.uint64)
    text = rng.normal(0, 1, (12, TEXT_DIMS)).astype(np.float16)
    known, other = (TextVectors(version, "", keys, text) for version in ("text-1", "text-2"))
    without = pair.place(TITLES).vectors
    np.testing.assert_array_equal(pair.place(TITLES, other).vectors, without)
    assert np.abs(pair.place(TITLES, known).vectors - without).max() > 0.01


def test_placed_titles_are_found_by_key_in_any_order(folders):
    placed = EncoderPair.open(*folders).place(TITLES)
    wanted = np.array([content_key("t7"), content_key("unknown"), content_key("t2")], np.uint64)
    vectors, fans = placed.over(wanted)
    np.testing.assert_array_equal(vectors[[0, 2]], placed.vectors[[7, 2]])
    np.testing.assert_array_equal(fans[2], placed.fans[2])
    assert not vectors[1].any()


def test_encoders_of_two_trainings_are_no_pair(weights, folders, tmp_path):
    write_user_encoder(tmp_path / "user", "v2", weights[1])
    with pytest.raises(CorruptData):
        EncoderPair.open(folders[0], tmp_path / "user")


def test_a_damaged_content_encoder_is_refused(weights, tmp_path):
    write_content_encoder(tmp_path, "v1", weights[0], Vocabulary.of(TITLES), {})
    data = (tmp_path / "vocabulary.json").read_bytes()
    (tmp_path / "vocabulary.json").write_bytes(data.replace(b"horror", b"honour"))
    with pytest.raises(CorruptData):
        ContentEncoder.open(tmp_path)


def test_features_are_fed_padded():
    features = Vocabulary.of(TITLES).features([TITLES[0], Title("x", "Nothing Known", type="episode")])
    terms, weights = padded_terms(features)
    assert terms.shape == weights.shape
    np.testing.assert_array_equal(terms[0][weights[0] > 0], features.indices[: features.indptr[1]])
    assert not weights[1].any()
