"""Text embeddings: how fast next to bare onnxruntime, how good next to TF-IDF, how small, how quickly searched.

Quality is measured on the overviews of the demo's films alone: neighbours from them should share the genres, and six
keywords or the film's own words should find it. Keywords and genres are not in the text then.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from numpy.typing import NDArray

from core.candidates.text import TextMatch, by_text
from core.catalog import Title
from core.embedding.encoder import Encoder
from core.embedding.features import text_of
from core.embedding.model_folder import open_session, read_verified
from core.embedding.quantized import KINDS, QuantizedRows, nearest, quantize_rows
from core.embedding.weights import ensure_minilm
from core.local.demo import demo_titles
from core.snapshot.features import weighted_terms, words
from core.snapshot.lexicon import Lexicon, build_lexicon
from tests.benchmarks.measure import Row, row, timed

QUERIES = (
    "slow-burn space survival",
    "a heist that goes wrong",
    "feel-good comedy about food",
    "two detectives hunt a serial killer in the rain",
    "coming of age in a small town",
    "submarine",
)
SIZES = (10_000, 50_000)
FILMS, PAGE = 320, 64


def run(quick: bool) -> list[Row]:
    titles = [title for title in demo_titles() if title.type == "movie"][: FILMS // 2 if quick else FILMS]
    with TemporaryDirectory() as folder:
        model = ensure_minilm(Path(folder) / "model")
        if model is None:
            raise SystemExit("the weights of the text encoder are not installed: the extra `local` brings them")
        encoder = Encoder.open(model)
        rows = speed(encoder, model, [text_of(title) for title in titles])
        rows += quality(encoder, titles)
        return rows + search(encoder, titles, SIZES[:1] if quick else SIZES)


def speed(encoder: Encoder, model: Path, texts: Sequence[str]) -> list[Row]:
    """Page by page, ours and bare onnxruntime on the same batches in turn, so that both meet the same machine."""
    bare = open_session(read_verified(model, "text-encoder")[1]["model.onnx"], 1)
    ours, raw = [], []
    for start in range(0, len(texts) - PAGE + 1, PAGE):
        page = texts[start : start + PAGE]
        batches = [{"input_ids": ids, "attention_mask": mask} for ids, mask in (b[1:] for b in encoder.batches(page))]
        ours.append(timed(lambda page=page: encoder.embed(page), 1)[0] / PAGE)
        raw.append(timed(lambda batches=batches: [bare.run(None, batch) for batch in batches], 1)[0] / PAGE)
    tokens = float(np.mean(encoder.count_tokens(list(texts))))
    return [
        row("embed, documents per second", 1 / np.array(ours), "1/s", None, f"{tokens:.0f} tokens each", at_least=True),
        row("onnxruntime alone on the same batches", 1 / np.array(raw), "1/s", at_least=True),
        row("  ours / onnxruntime", np.array(raw) / np.array(ours), "", 0.9, at_least=True),
        row("embed one query", [s for q in QUERIES for s in timed(lambda q=q: encoder.embed([q]), 20)], "ms"),
    ]


def quality(encoder: Encoder, titles: Sequence[Title]) -> list[Row]:
    overviews = [title.overview for title in titles]
    keywords = [", ".join(title.keywords) for title in titles]
    terms = weighted_terms([words(text) for text in overviews + keywords])
    sparse, asked = terms[: len(titles)], terms[len(titles) :]
    vectors, queries = encoder.embed(overviews), encoder.embed(keywords)
    lexicon = build_lexicon([Title(t.content_id, "-", overview=t.overview) for t in titles])
    matches = [
        TextMatch(*both) for both in zip(queries @ vectors.T, *words_of(lexicon, keywords, len(titles)), strict=True)
    ]
    meaning, by_words = (np.array([getattr(match, name) for match in matches]) for name in ("meaning", "words"))
    return [
        row("genre agreement of 10 neighbours: encoder", genre_agreement(vectors @ vectors.T, titles), ""),
        row("  TF-IDF", genre_agreement((sparse @ sparse.T).toarray(), titles), ""),
        row("  any ten", genre_agreement(np.random.default_rng(0).random((len(titles),) * 2), titles), ""),
        row("keywords find their film within 10: encoder", recall(meaning), ""),
        row("  TF-IDF", recall((asked @ sparse.T).toarray()), ""),
        row("  BM25", recall(by_words), ""),
        row("  encoder and BM25 fused", recall(np.array([fused(match) for match in matches])), ""),
    ]


def genre_agreement(similarity: NDArray, titles: Sequence[Title]) -> list[float]:
    """Mean Jaccard index of the genres with ten neighbours; one value, for a table of means."""
    similarity = similarity.astype(float)
    np.fill_diagonal(similarity, -np.inf)
    genres = [set(title.genres) for title in titles]
    near = np.argsort(-similarity, axis=1, kind="stable")[:, :10]
    shared = [
        [len(genres[i] & genres[j]) / max(len(genres[i] | genres[j]), 1) for j in near[i]] for i in range(len(near))
    ]
    return [float(np.mean(shared))]


def recall(scores: NDArray) -> list[float]:
    """Share of queries (rows) whose own title (the diagonal) is among the ten best; ties count against it."""
    own = np.diag(scores)[:, None]
    return [float(np.mean((scores >= own).sum(axis=1) <= 10))]


def words_of(lexicon: Lexicon, texts: Sequence[str], n: int) -> tuple[NDArray, NDArray]:
    """BM25 of every title and whether it has every word, for each text."""
    relevance, complete = zip(*(lexicon.match(text, n) for text in texts), strict=True)
    return np.array(relevance), np.array(complete)


def fused(match: TextMatch) -> NDArray:
    """(n,) scores as requests fuse them; 0 for what is not among the best of any ranking."""
    n = len(match.words)
    ranking, scores = by_text(match, np.ones(n, bool), n), np.zeros(n)
    scores[ranking.rows] = ranking.scores
    return scores


def search(encoder: Encoder, titles: Sequence[Title], sizes: Sequence[int]) -> list[Row]:
    """Catalogues of a size made from real vectors and small deviations, as remakes and episodes lie."""
    rng = np.random.default_rng(1)
    real = encoder.embed([text_of(title) for title in titles])
    queries = np.concatenate([encoder.embed(QUERIES), encoder.embed([title.overview for title in titles[:50]])])
    rows = []
    for size in sizes:
        vectors = real[rng.integers(0, len(real), size)] + rng.standard_normal((size, real.shape[1])) / 40
        vectors = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)
        exact = [set(np.argsort(-(vectors @ query))[:10].tolist()) for query in queries]
        int8 = quantize_rows(vectors, "int8")
        for kind in KINDS:
            rescored = int8 if kind == "binary" else None
            rows.append(scan(quantize_rows(vectors, kind), rescored, queries, exact))
    return rows


def scan(stored: QuantizedRows, rescored: QuantizedRows | None, queries: NDArray, exact: Sequence[set[int]]) -> Row:
    found = [set(nearest(stored, query, 10, rescored).tolist()) for query in queries]
    kept = np.mean([len(a & b) / 10 for a, b in zip(exact, found, strict=True)])
    took = [timed(partial(nearest, stored, query, 10, rescored), 1)[0] for query in queries]
    name = f"scan {len(stored.codes)} titles: {stored.kind}{' and int8' if rescored else ''}"
    return row(name, took, "ms", note=f"recall@10 {kept:.3f}, {stored.bytes_per_row:.0f} B a title")
