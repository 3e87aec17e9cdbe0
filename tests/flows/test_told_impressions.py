"""What is told of an answer, byte by byte made by hand."""

import json
from types import SimpleNamespace

from core.flows.describe import Recommended
from core.flows.impressions import impressions

ODD = 'a "quoted", \\ and Ünïcode\n'


def test_told_impressions_are_json_whatever_the_ids_hold() -> None:
    items = (
        Recommended(1, ODD, "T", 0.5, {}, "collaborative", (), "x", "pattern-1"),
        Recommended(2, "b", "T", 0.5, {}, "graph", (), "x"),
    )
    elapsed_ms = {"similar": 0.25, "lasting": 0.5}
    answer = SimpleNamespace(request_id="r1", user_id="ann", items=items, variants={}, elapsed_ms=elapsed_ms)
    first, second = (json.loads(told) for told in impressions(answer, 1700000000.5))
    assert first == {
        "event_id": "r1:0",
        "content_id": ODD,
        "type": "impression",
        "occurred_at": 1700000000.5,
        "request_id": "r1",
        "position": 0,
        "strategy": "collaborative",
        "latency_ms": 0.75,
        "pattern_id": "pattern-1",
    }
    assert second["latency_ms"] == 0.0
    assert "pattern_id" not in second
