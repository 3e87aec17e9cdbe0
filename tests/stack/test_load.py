"""Mixed traffic for a while: nothing fails, and the memory of the functions stays where it is."""

import pytest

from core.local.demo import demo_titles
from core.local.stack import Stack
from core.local.tokens import sign_local_token
from tests.benchmarks.bench_load import MOST_GROWTH
from tests.benchmarks.mixed_traffic import GOOD, Seen, drive

PER_SECOND = 60.0


def loaded(stack: Stack, seconds: float) -> Seen:
    secret = stack.secret_path.read_text()
    tokens = [sign_local_token(secret, f"load-{number}") for number in range(50)]
    titles = [title.content_id for title in demo_titles() if title.type != "episode"]
    drive(stack, tokens, titles, 3.0, PER_SECOND, 3.0)
    return drive(stack, tokens, titles, seconds, PER_SECOND, max(1.0, seconds / 60))


def check(seen: Seen) -> None:
    statuses = {status for found in seen.statuses.values() for status in found}
    assert statuses <= set(GOOD)
    assert seen.broken == 0
    assert set(seen.latencies_s) == {"recommend", "similar", "search", "collect", "profile"}


def test_a_short_while_of_mixed_traffic_is_answered_without_a_failure(stack: Stack) -> None:
    check(loaded(stack, 5.0))


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_ten_minutes_of_mixed_traffic_leave_memory_flat(stack: Stack) -> None:
    seen = loaded(stack, 600.0)
    check(seen)
    for process in seen.memory:
        if process.startswith("function"):
            growth, median = seen.growth_mb(process)
            assert growth < max(MOST_GROWTH * median, 4.0), (process, growth, median)
