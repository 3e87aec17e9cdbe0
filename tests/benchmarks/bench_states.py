"""What a request loads of its user: time from the hot and from the cold store, bytes, and what an adapter adds.

Times are of single calls over the loopback, so each is mostly two wake-ups: the ratio to a bare GET says more.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from itertools import cycle, islice

import numpy as np
import redis

from core.adaptation.codec import UserAdapter, decode, encode
from core.adaptation.lora import Lora, delta, fresh
from core.candidates.viewer import WINDOW
from core.flows.viewers import load_viewer
from core.numeric.vectors import unit
from core.ranking.query import Query
from core.stores.protocols import StoredAdapter
from core.stores.pseudonyms import pseudonyms
from core.stores.valkey import UserKeys, ValkeyHotStates, client, keys_of
from tests.benchmarks.measure import Row, row
from tests.benchmarks.world import World

ADAPTER_DIMS, SLOW_RANK, FAST_RANK = 512, 8, 2  # the largest that is allowed
MILLION = 1_000_000


def each(
    call: Callable[[str], object], users: list[str], count: int, before: Callable[[str], object] = bool
) -> list[float]:
    """Seconds of `call` for `count` users in turn; `before` is not timed."""
    samples = []
    for user in islice(cycle(users), count):
        before(user)
        begin = time.perf_counter()
        call(user)
        samples.append(time.perf_counter() - begin)
    return samples


def run(world: World, quick: bool, progress: Callable[[str], None]) -> list[Row]:
    progress("states")
    count, users = (1000, world.users[:500]) if quick else (5000, world.users)
    valkey = redis.Redis.from_url(world.services.settings.stores.redis_url, protocol=3)
    adapters = make_adapters(users[:200])
    put_adapters(world, adapters)
    return times(world, users, count, valkey) + sizes(world, users, valkey, adapters) + adapting(adapters, count)


def keys_in(world: World) -> Callable[[str], UserKeys]:
    """Where the hot store of a world has a user's copies."""
    names = pseudonyms(world.services.settings.privacy.keys)
    return lambda user: keys_of(user, names)


def times(world: World, users: list[str], count: int, valkey: redis.Redis) -> list[Row]:
    states, services = world.services.states, world.services
    keys = keys_in(world)
    states.load_with_adapter(users[0])
    each(states.load_with_adapter, users, len(users))  # every copy is hot from here on
    some, few = users[:200], max(count // 4, 200)

    def lose(user: str) -> None:
        valkey.delete(keys(user).state, keys(user).adapter)

    rows = [
        row(
            "bare GET of a state", each(lambda key: valkey.get(key), [keys(user).state for user in users], count), "ms"
        ),
        row("load a state, hot, decoded", each(lambda user: load_viewer(services, Query(user)), users, count), "ms"),
        row("load state + adapter, hot", each(states.load_with_adapter, some, count), "ms", 1.0),
        row("load state + adapter, cold, and refill", each(states.load_with_adapter, some, few, before=lose), "ms"),
    ]
    p99 = rows[2]["p99"]
    return [*rows, row("load state + adapter, hot: p99", [p99 / 1e3], "ms", 5.0)]


def make_adapters(users: list[str]) -> dict[str, bytes]:
    """Adapters of full rank, as their bytes in the hot store."""
    rng = np.random.default_rng(0)
    made = {}
    for user in users:
        slow, fast = (rng.standard_normal((ADAPTER_DIMS, r)).astype(np.float32) for r in (SLOW_RANK, FAST_RANK))
        made[user] = encode(UserAdapter(slow, fast, "benchmark", "benchmark"))
    return made


def put_adapters(world: World, adapters: dict[str, bytes]) -> None:
    """Straight into the hot store, where requests look first."""
    stores = world.services.settings.stores
    hot = ValkeyHotStates(client(stores), stores.state_ttl_s, pseudonyms(world.services.settings.privacy.keys))
    for user, blob in adapters.items():
        hot.put_adapter(user, StoredAdapter(blob, 1, 0, "benchmark", time.time()))


def sizes(world: World, users: list[str], valkey: redis.Redis, adapters: dict[str, bytes]) -> list[Row]:
    """Bytes of the values, and what Valkey takes for them with key and overhead."""
    keys = keys_in(world)
    values = [len(valkey.get(keys(user).state) or b"") for user in users]
    taken = [int(valkey.memory_usage(keys(user).state) or 0) for user in users]
    blobs = [len(blob) for blob in adapters.values()]
    per_user = float(np.median(taken)) + float(np.median(blobs))
    entries = f"{WINDOW} titles of history are used"
    return [
        row("hot state of a user: value", values, "B", None, entries),
        row("hot state of a user: in Valkey", taken, "B"),
        row("hot adapter of a user, 512-d, slow r8 int8 + fast r2 f16", blobs, "B", 10_240.0),
        row(
            "hot memory of a million users, states and adapters", [per_user * MILLION / 1e9], "GB", None, "adapters 10"
        ),
    ]


def adapting(adapters: dict[str, bytes], count: int) -> list[Row]:
    """What a request does with an adapter: decode it and move its query vector by both tiers."""
    rng = np.random.default_rng(0)
    blobs = list(adapters.values())
    queries = [unit(rng.standard_normal(ADAPTER_DIMS).astype(np.float32)) for _ in range(16)]
    base = fresh(ADAPTER_DIMS, SLOW_RANK, float(SLOW_RANK), rng)
    quick = fresh(ADAPTER_DIMS, FAST_RANK, float(FAST_RANK), rng)
    samples = []
    for i in range(count):
        begin = time.perf_counter()
        adapter = decode(blobs[i % len(blobs)])
        slow, fast = Lora(base.A, adapter.slow, base.alpha), Lora(quick.A, adapter.fast, quick.alpha)
        query = queries[i % len(queries)]
        query + delta(slow, query) + delta(fast, query)
        samples.append(time.perf_counter() - begin)
    return [row("adapt a 512-d query: decode the adapter, both tiers", samples, "ms")]
