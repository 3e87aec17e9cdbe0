"""What the console calls the parts of an answer, against what answers call them."""

import re
from pathlib import Path

from core.flows import experiment_memory, pattern_memory, route, routing_memory, viewers
from core.ranking import adapter_boost
from core.stores import valkey
from core.stores.postgres import connect

STATIC = Path(__file__).parents[2] / "core/local/console/static"
EMITTED = {
    "snapshot", "popularity", experiment_memory.NAME, pattern_memory.NAME, route.PART, route.ENCODER,
    routing_memory.PART, viewers.STATE, adapter_boost.PART, valkey.STORE, connect.STORE,
}  # fmt: skip


def test_every_part_that_an_answer_can_lack_has_words_and_no_other() -> None:
    [table] = re.findall(r"^const DEGRADED = \{(.*?)^\};", (STATIC / "panels.js").read_text(), re.MULTILINE | re.DOTALL)
    assert set(re.findall(r"^  (\w+):", table, re.MULTILINE)) == EMITTED
