"""What messages say about experiments: who was exposed to which variant, and who converted."""

from __future__ import annotations

import json
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from core.experiments.store import Conversion, Experiments, Exposure
from core.stores.protocols import Publisher

KNOWN_EXPOSURES = 20_000  # that an instance has stored itself and need not store again


@dataclass(frozen=True, slots=True)
class Observations:
    """What one message says about one user."""

    user_id: str
    exposures: tuple[Exposure, ...] = ()
    conversions: tuple[Conversion, ...] = ()


class ObservationRecorder:
    """Stores observations once. Remembers which exposures this instance has committed: they come with every answer."""

    def __init__(self, store: Experiments, capacity: int = KNOWN_EXPOSURES) -> None:
        self._store = store
        self._capacity = capacity
        self._known: OrderedDict[tuple[str, str, str], None] = OrderedDict()

    def record(self, seen: Observations) -> int:
        """Returns how many were new. Raises StoreUnavailable: then nothing is lost, because the message comes again."""
        new = [one for one in seen.exposures if (seen.user_id, one.experiment, one.variant) not in self._known]
        if not new and not seen.conversions:
            return 0
        stored = self._store.record(seen.user_id, new, seen.conversions)
        for one in new:
            self._known[seen.user_id, one.experiment, one.variant] = None
        while len(self._known) > self._capacity:
            self._known.popitem(last=False)
        return stored

    def forget(self, user_id: str) -> int:
        """Delete what is stored of a user; returns how many rows. The tombstone keeps late messages out."""
        for key in [key for key in list(self._known) if key[0] == user_id]:
            self._known.pop(key, None)
        return self._store.forget(user_id)


def exposure_records(variants: Mapping[str, str], now: float) -> list[dict[str, Any]]:
    """Exposures as they travel. `variants`: experiment -> variant that served an answer."""
    return [{"experiment": name, "variant": variant, "at": now} for name, variant in variants.items()]


def publish_exposures(publisher: Publisher, topic: str, user_id: str, variants: Mapping[str, str], now: float) -> bool:
    """Tell, as best as can be, that an answer without impressions took part in experiments."""
    if not variants:
        return True
    data = {"user_id": user_id, "events": [], "exposures": exposure_records(variants, now)}
    return publisher.publish_best_effort(topic, user_id, json.dumps(data).encode())


def conversion_record(conversion: Conversion) -> dict[str, Any]:
    """A conversion as it travels."""
    return {
        "conversion_id": conversion.conversion_id,
        "experiment": conversion.experiment,
        "metric": conversion.metric,
        "value": conversion.value,
        "at": conversion.at,
    }
