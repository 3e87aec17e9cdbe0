"""Load: mixed traffic on the whole stack for a while, with the memory of every process.

`--seconds 600` is the soak test. Latencies are those of a shared machine at a steady pace, not of a server at its
limit; what must hold is that nothing fails and that memory does not grow.
"""

from __future__ import annotations

from collections.abc import Callable

from tests.benchmarks.measure import Row, row
from tests.benchmarks.mixed_traffic import Seen, drive
from tests.benchmarks.world import World

PER_SECOND = 150.0
USERS = 200
SAMPLES = 60  # of memory, at most every second
MOST_GROWTH = 0.05  # of a function worker, after the warm-up
SHORT_S = 20.0  # with less than a minute there is nothing to say about growth


def run(world: World, seconds: float, progress: Callable[[str], None]) -> list[Row]:
    """Rows by kind of request, then by process."""
    stack = world.stack
    stack.gateway.start()
    tokens = [world.token(user) for user in world.users[:USERS]]
    titles = [title.content_id for title in world.audience.titles[:2000]]
    progress("load: warming up")
    drive(stack, tokens, titles, min(5.0, seconds), PER_SECOND, 5.0)
    progress(f"load: {seconds:.0f} s of mixed traffic")
    seen = drive(stack, tokens, titles, seconds, PER_SECOND, max(1.0, min(10.0, seconds / SAMPLES)))
    return rows(seen)


def rows(seen: Seen) -> list[Row]:
    found = [row(f"{kind}: latency", latencies, "ms") for kind, latencies in sorted(seen.latencies_s.items())]
    for each, statuses in zip(found, (seen.statuses[kind] for kind in sorted(seen.statuses)), strict=True):
        each["note"] = ", ".join(f"{count} x {status}" for status, count in sorted(statuses.items()))
    sent = sum(len(latencies) for latencies in seen.latencies_s.values())
    found.append(row("requests/s", [sent / seen.seconds], "1/s", 0.9 * PER_SECOND, at_least=True))
    found.append(row("answers but success and 429", [seen.refused], "", 0.0))
    for process in sorted(seen.memory):
        growth, median = seen.growth_mb(process)
        bounded = process.startswith("function") and seen.seconds > 3 * SHORT_S
        note = f"resident {median:.0f} MB, {len(seen.memory[process])} samples"
        target = max(MOST_GROWTH * median, 4.0) if bounded else None
        found.append(row(f"{process}: growth after the warm-up", [growth], "MB", target, note))
    return found
