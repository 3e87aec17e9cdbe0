"""The story of the content and the user encoder: read the catalogue and the log, train, judge, publish, activate.

The next snapshot places its titles with them (core.flows.publish_snapshot).
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from core.adaptation.evidence import of_series
from core.embedding.content_encoder_pair import publish_pair
from core.embedding.content_encoder_renewal import RenewalSettings, renew_encoders
from core.flows.publish_snapshot import text_vectors
from core.flows.services import Services
from core.snapshot.inputs import collect_interactions


def train_encoders(
    services: Services,
    progress: Callable[[str], None] = lambda stage: None,
    settings: RenewalSettings | None = None,
) -> dict[str, Any]:
    """Train both encoders on all titles and events, and activate them if they bring held-back titles to their audience.

    Reports `content_encoder` (None, and nothing is changed, when they were not accepted or too little is known) `text
    seconds` and, where they could be judged, what core.embedding.content_encoder_renewal.Judgement holds.
    """
    began = time.perf_counter()
    progress("reading the catalogue and the event log")
    titles = list(services.catalog.titles())
    interactions = collect_interactions(services.log.evidence())
    text = text_vectors(services)
    with TemporaryDirectory() as workplace:
        series = of_series(interactions, titles)
        renewed = renew_encoders(titles, series, text, Path(workplace), settings, progress)
        accepted = renewed is not None and renewed.judgement.accepted
        if renewed is not None and accepted:
            progress(f"publishing encoders {renewed.version}")
            publish_pair(services.bucket, renewed.content, renewed.user)
    return {
        "content_encoder": renewed.version if renewed and accepted else None,
        "text": text.version if text else None,
        "seconds": round(time.perf_counter() - began, 1),
        **(renewed.judgement.facts() if renewed else {}),
    }
