"""The story of a text: encode it with the model that encoded the titles, and compare."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from core.candidates.text import TextMatch, by_structure, by_words
from core.catalog import content_key
from core.embedding.batch import encoder_version_of
from core.errors import SonaError
from core.flows.services import Services
from core.snapshot.snapshot import Snapshot
from core.telemetry import logger

PART = "encoder"  # its name in `degraded`
NEAREST = 400  # titles that the database is asked for, when the snapshot does not carry the vectors

log = logger("search")


def match_text(services: Services, snapshot: Snapshot, text: str) -> tuple[TextMatch, tuple[str, ...]]:
    """How well every title of the snapshot matches a text, and ("encoder",) when it could not be encoded.

    Then words and the TF-IDF/LSA vectors of the snapshot (`tfidf-lsa`) have to do.
    """
    words, complete = by_words(snapshot, text)
    try:
        meaning = _by_meaning(services, snapshot, text)
    except SonaError as error:
        log.warning("searching by words and tfidf-lsa", reason=str(error))
        meaning = None
    if meaning is None:
        return TextMatch(by_structure(snapshot, words), words, complete), (PART,)
    return TextMatch(meaning, words, complete), ()


def _by_meaning(services: Services, snapshot: Snapshot, text: str) -> NDArray | None:
    """(n,) cosine of every title to the text; None where titles have no vectors. Raises what the encoder raises."""
    if snapshot.text_version is None:
        return None
    query = services.encoders.get(encoder_version_of(snapshot.text_version)).read(text).vector
    if snapshot.text is not None:
        return snapshot.text.cosine(query)
    found = services.embeddings.nearest(snapshot.text_version, query, NEAREST)
    rows = snapshot.rows(np.array([content_key(content_id) for content_id, _ in found], np.uint64))
    meaning = np.zeros(len(snapshot), np.float32)
    meaning[rows[rows >= 0]] = np.array([similarity for _, similarity in found], np.float32)[rows >= 0]
    return meaning
