"""The story of the graph embedding: read the catalogue and the log, train, judge, publish, activate.

The next snapshot's graph lists find new titles with it (core.flows.publish_snapshot).
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from core.adaptation.evidence import of_series
from core.embedding.graph_sage_model import KIND
from core.embedding.graph_sage_renewal import GraphRenewalSettings, renew_graph
from core.embedding.model_store import activate_model, publish_model
from core.flows.services import Services
from core.snapshot.inputs import collect_interactions


def train_graph(
    services: Services,
    progress: Callable[[str], None] = lambda stage: None,
    settings: GraphRenewalSettings | None = None,
) -> dict[str, Any]:
    """Train the embedding on all titles and events, and activate it if it brings held-back titles to their audience.

    Reports `graph_embedding` (None, and nothing is changed, when it was not accepted or too little is known) `seconds`
    and, where it could be judged, what core.embedding.content_encoder_renewal.Judgement holds.
    """
    began = time.perf_counter()
    progress("reading the catalogue and the event log")
    titles = list(services.catalog.titles())
    interactions = of_series(collect_interactions(services.log.evidence()), titles)
    with TemporaryDirectory() as workplace:
        renewed = renew_graph(titles, interactions, Path(workplace) / "graph", settings, progress)
        accepted = renewed is not None and renewed.judgement.accepted
        if renewed is not None and accepted:
            progress(f"publishing graph embedding {renewed.version}")
            activate_model(services.bucket, publish_model(services.bucket, renewed.folder, KIND), KIND)
    return {
        "graph_embedding": renewed.version if renewed and accepted else None,
        "seconds": round(time.perf_counter() - began, 1),
        **(renewed.judgement.facts() if renewed else {}),
    }
