"""The hand-written test set, and a time at which the demo's offers make sense."""

import json
from pathlib import Path
from typing import Any

NOW = 1_837_500_000.0  # in the weeks that the demo's offers are about


def read(name: str) -> list[dict[str, Any]]:
    """The lines of a file beside this one."""
    return [json.loads(line) for line in (Path(__file__).parent / name).read_text(encoding="utf-8").splitlines()]
