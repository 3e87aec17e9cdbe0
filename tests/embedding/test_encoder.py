import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from scipy.special import ndtr, softmax
from tokenizers import Tokenizer

from core.embedding.encoder import KIND, TOKENIZER, Encoder
from core.embedding.minilm import WEIGHTS, build_minilm, read_safetensors
from core.embedding.model_folder import MANIFEST, MODEL, open_session, write_manifest
from core.embedding.onnx_format import has_external_data
from core.embedding.weights import installed_weights
from core.errors import CorruptData, InvalidInput

SPACE = "A slow-burn story of survival in space"
PLANET = "An astronaut stranded on Mars must stay alive until help comes"
PARIS = "A cheerful romantic comedy about two bakers in Paris"
REFERENCE = np.array([0.0677, 0.0635, 0.0487, 0.0793, 0.0374], np.float32)  # as the model's documentation prints it
LONG = " ".join(["A detective follows a trail of letters through the old town."] * 60)


def test_texts_become_unit_rows_in_their_order(encoder: Encoder) -> None:
    texts = [PARIS, SPACE, LONG, PLANET, "x"]
    vectors = encoder.embed(texts)
    assert (vectors.shape, vectors.dtype) == ((5, encoder.dims), np.float32)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1.0, atol=1e-5)
    alone = np.concatenate([encoder.embed([text]) for text in texts])
    assert (vectors * alone).sum(axis=1).min() > 0.97  # activations are quantized together with the batch's
    assert (vectors @ alone.T).argmax(axis=1).tolist() == [0, 1, 2, 3, 4]
    assert encoder.embed([]).shape == (0, encoder.dims)


def test_meaning_counts_more_than_words(encoder: Encoder) -> None:
    space, planet, paris = encoder.embed([SPACE, PLANET, PARIS])
    assert space @ planet > 0.3
    assert space @ planet > space @ paris + 0.2


def bert(weights: dict[str, np.ndarray], ids: list[int]) -> np.ndarray:
    """The published float32 model on one text, written out: its unit vector."""

    def dense(x: np.ndarray, name: str) -> np.ndarray:
        return x @ weights[f"{name}.weight"].T + weights[f"{name}.bias"]

    def normalised(x: np.ndarray, name: str) -> np.ndarray:
        centred = x - x.mean(-1, keepdims=True)
        scaled = centred / np.sqrt(x.var(-1, keepdims=True) + 1e-12)
        return scaled * weights[f"{name}.weight"] + weights[f"{name}.bias"]

    x = weights["embeddings.word_embeddings.weight"][ids] + weights["embeddings.token_type_embeddings.weight"][0]
    x = normalised(x + weights["embeddings.position_embeddings.weight"][: len(ids)], "embeddings.LayerNorm")
    for layer in range(6):
        name = f"encoder.layer.{layer}"
        q, k, v = (
            dense(x, f"{name}.attention.self.{part}").reshape(-1, 12, 32).transpose(1, 0, 2)
            for part in ("query", "key", "value")
        )
        mixed = softmax(q @ k.transpose(0, 2, 1) / np.sqrt(32), axis=-1) @ v
        attended = dense(mixed.transpose(1, 0, 2).reshape(x.shape), f"{name}.attention.output.dense")
        x = normalised(x + attended, f"{name}.attention.output.LayerNorm")
        inner = dense(x, f"{name}.intermediate.dense")
        outer = dense(inner * ndtr(inner), f"{name}.output.dense")
        x = normalised(x + outer, f"{name}.output.LayerNorm")
    mean = x.mean(axis=0)
    return mean / np.linalg.norm(mean)


def test_vectors_are_those_of_the_published_float_model(encoder: Encoder) -> None:
    source = installed_weights()
    assert source is not None
    weights = read_safetensors((source / WEIGHTS).read_bytes())
    tokenizer = Tokenizer.from_file(str(source / TOKENIZER))
    tokenizer.no_padding()
    exact = bert(weights, tokenizer.encode("This is an example sentence").ids)
    np.testing.assert_allclose(exact[:5], REFERENCE, atol=1e-4)
    for text in ("This is an example sentence", SPACE, PLANET, PARIS):
        assert bert(weights, tokenizer.encode(text).ids) @ encoder.embed([text])[0] > 0.98


def test_the_mean_of_the_token_vectors_is_the_text_vector(encoder: Encoder) -> None:
    tokens = encoder.token_vectors([SPACE])[0]
    mean = tokens.mean(axis=0)
    np.testing.assert_allclose(mean / np.linalg.norm(mean), encoder.embed([SPACE])[0], atol=1e-5)


def test_reading_a_text_gives_both_and_runs_the_model_once(encoder: Encoder) -> None:
    reading = encoder.read("a quiet film about grief")
    assert np.allclose(reading.vector, encoder.embed(["a quiet film about grief"])[0], atol=1e-6)
    assert np.array_equal(reading.tokens, encoder.token_vectors(["a quiet film about grief"])[0])
    assert encoder.read("a quiet film about grief") is reading
    with pytest.raises(ValueError, match="read-only"):
        reading.vector[0] = 1.0


def test_there_is_one_vector_per_token_and_none_for_padding(encoder: Encoder) -> None:
    texts = ["space", LONG, "two words"]
    assert [len(vectors) for vectors in encoder.token_vectors(texts)] == encoder.count_tokens(texts) == [3, 256, 4]


def test_what_exceeds_the_longest_text_is_cut_off(encoder: Encoder) -> None:
    longer = encoder.embed([LONG + " And nothing else matters."])
    np.testing.assert_array_equal(encoder.embed([LONG]), longer)


@pytest.mark.parametrize("bad", ["a plain string", [None], [b"bytes"]])
def test_what_is_no_list_of_texts_is_refused(encoder: Encoder, bad: object) -> None:
    with pytest.raises(InvalidInput):
        encoder.embed(bad)  # type: ignore[arg-type]


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1])


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


@pytest.mark.parametrize("name", [MODEL, TOKENIZER, MANIFEST])
@pytest.mark.parametrize("damage", [Path.unlink, truncate, flip])
def test_a_damaged_model_folder_is_refused(
    encoder_folder: Path, tmp_path: Path, name: str, damage: Callable[[Path], None]
) -> None:
    folder = Path(shutil.copytree(encoder_folder, tmp_path / "model"))
    damage(folder / name)
    if (name, damage) == (MANIFEST, truncate):
        return  # the last byte is the line's end
    with pytest.raises(CorruptData):
        Encoder.open(folder)


def test_a_manifest_cannot_name_files_elsewhere(encoder_folder: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(encoder_folder, tmp_path / "model"))
    text = (folder / MANIFEST).read_text()
    (folder / MANIFEST).write_text(text.replace(MODEL, f"../model/{MODEL}"))
    with pytest.raises(CorruptData, match="impossible"):
        Encoder.open(folder)


def test_a_model_of_another_kind_or_pooling_is_refused(encoder_folder: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(encoder_folder, tmp_path / "model"))
    write_manifest(folder, "content-encoder", "other", {"dims": 384, "max_tokens": 256})
    with pytest.raises(CorruptData, match="content-encoder"):
        Encoder.open(folder)
    write_manifest(folder, KIND, "other", {"dims": 384, "max_tokens": 256, "pooling": "cls", "normalize": True})
    with pytest.raises(CorruptData, match="pooled"):
        Encoder.open(folder)


def tensor(external: bool) -> TensorProto:
    weights = numpy_helper.from_array(np.ones((2, 2), np.float32), "w")
    if external:
        weights.ClearField("raw_data")
        weights.data_location = TensorProto.EXTERNAL
        weights.external_data.add(key="location", value="../../secret")
    return weights


def model(weights: TensorProto, place: str) -> bytes:
    """x W with W as an initializer, or as a constant node inside the branch of an If."""
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, [2, 2])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, [2, 2])
    if place == "initializer":
        graph = helper.make_graph([helper.make_node("MatMul", ["x", "w"], ["y"])], "g", [x], [y], [weights])
    else:
        inner = helper.make_tensor_value_info("c", TensorProto.FLOAT, [2, 2])
        branch = helper.make_graph([helper.make_node("Constant", [], ["c"], value=weights)], "b", [], [inner])
        yes = numpy_helper.from_array(np.array(True), "yes")
        nodes = [helper.make_node("If", ["yes"], ["y"], then_branch=branch, else_branch=branch)]
        graph = helper.make_graph(nodes, "g", [x], [y], [yes])
    made: bytes = helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=9
    ).SerializeToString()
    return made


@pytest.mark.parametrize("place", ["initializer", "branch"])
def test_weights_in_other_files_are_refused_wherever_they_are_named(place: str) -> None:
    assert not has_external_data(model(tensor(external=False), place))
    assert open_session(model(tensor(external=False), place), 1).run(None, {"x": np.eye(2, dtype=np.float32)})
    with pytest.raises(CorruptData, match="another file"):
        open_session(model(tensor(external=True), place), 1)


@pytest.mark.parametrize("garbage", [b"not a model", b"\x3a\xff\xff", b""])
def test_garbage_is_no_model(garbage: bytes) -> None:
    with pytest.raises(CorruptData):
        open_session(garbage, 1)


def test_weights_that_are_not_the_published_ones_are_refused(tmp_path: Path) -> None:
    source = installed_weights()
    assert source is not None
    (tmp_path / TOKENIZER).write_bytes((source / TOKENIZER).read_bytes())
    data = bytearray((source / WEIGHTS).read_bytes())
    data[-1] ^= 1
    (tmp_path / WEIGHTS).write_bytes(data)
    with pytest.raises(CorruptData, match="published"):
        build_minilm(tmp_path, tmp_path / "model")
    assert not (tmp_path / "model").exists()


def test_the_built_model_is_valid_onnx(encoder_folder: Path) -> None:
    onnx.checker.check_model(onnx.load(encoder_folder / MODEL), full_check=True)
