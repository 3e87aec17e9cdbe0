"""A store that keeps failing is left alone, tried again after a while, and used again when it answers."""

import time

import pytest

from core.errors import Declined, InvalidInput, StoreSilent, StoreUnavailable
from core.stores.breaker import Breaker, Guarded


class Store:
    """A store that answers or not, and counts how often it was asked."""

    def __init__(self) -> None:
        self.away, self.asked = True, 0

    def read(self, value: int = 1) -> int:
        self.asked += 1
        if value < 0:
            raise InvalidInput("no")
        if self.away:
            raise StoreUnavailable("store")
        return value


@pytest.fixture
def now() -> list[float]:
    return [0.0]


@pytest.fixture
def store() -> Store:
    return Store()


@pytest.fixture
def guarded(store: Store, now: list[float]) -> Guarded:
    return Guarded(store, Breaker("store", threshold=3, rest_s=1.0, clock=lambda: now[0]))


def fail(guarded: Guarded, times: int) -> None:
    for _ in range(times):
        with pytest.raises(StoreUnavailable):
            guarded.read()


def test_it_opens_at_the_third_failure_in_a_row_and_not_before(guarded: Guarded, store: Store) -> None:
    fail(guarded, 2)
    store.away = False
    assert guarded.read(5) == 5
    store.away = True
    fail(guarded, 5)
    assert store.asked == 6  # two, one, and three that failed; the last two were refused


def test_after_its_rest_one_call_decides(guarded: Guarded, store: Store, now: list[float]) -> None:
    fail(guarded, 3)
    now[0] = 1.1
    fail(guarded, 4)
    assert store.asked == 4  # the first of the four tried, and failed
    now[0], store.away = 2.2, False
    assert [guarded.read() for _ in range(3)] == [1, 1, 1]


def test_bad_input_is_no_failure_of_the_store(guarded: Guarded, store: Store) -> None:
    for _ in range(9):
        with pytest.raises(InvalidInput):
            guarded.read(-1)
    store.away = False
    assert guarded.read() == 1


def test_an_answer_that_is_an_error_closes_it_too(guarded: Guarded, store: Store, now: list[float]) -> None:
    fail(guarded, 3)
    now[0] = 1.1
    with pytest.raises(InvalidInput):
        guarded.read(-1)
    store.away = False
    assert guarded.read() == 1


def test_what_passes_is_never_refused(store: Store) -> None:
    passing = Guarded(store, Breaker("store", threshold=1), passing=("read",))
    fail(passing, 3)
    assert store.asked == 3
    assert passing.asked == 3


def test_one_silence_is_enough_and_a_slow_try_is_repeated_less_often(now: list[float]) -> None:
    class Frozen(Store):
        def read(self, value: int = 1) -> int:
            self.asked += 1
            now[0] += 0.8  # its timeout
            raise StoreSilent("store")

    frozen = Frozen()
    guarded = Guarded(frozen, Breaker("store", threshold=3, rest_s=0.5, clock=lambda: now[0]))
    fail(guarded, 5)
    assert frozen.asked == 1
    now[0] += 1.5  # twice as long as it took are 1.6 s
    fail(guarded, 5)
    assert frozen.asked == 1
    now[0] += 0.2
    fail(guarded, 5)
    assert frozen.asked == 2


def test_what_it_declines_to_do_for_one_is_no_reason_to_leave_it_alone(now: list[float]) -> None:
    class Held(Store):
        def read(self, value: int = 1) -> int:
            self.asked += 1
            raise Declined("store", "a row is held")

    held = Held()
    fail(Guarded(held, Breaker("store", threshold=3, clock=lambda: now[0])), 9)
    assert held.asked == 9


def test_a_frozen_store_costs_three_timeouts_and_no_more() -> None:
    class Frozen(Store):
        def read(self, value: int = 1) -> int:
            time.sleep(0.02)
            return super().read(value)

    frozen = Guarded(Frozen(), Breaker("store", threshold=3, rest_s=60.0))
    started = time.monotonic()
    fail(frozen, 200)
    assert time.monotonic() - started < 1.0
