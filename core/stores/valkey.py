"""Hot copies in Valkey: user states, adapters and the shared popularity counters. Every key has a time to live.

No key names a user: it carries the user's pseudonym, as its hash tag, so that a cluster keeps what one script touches
on one node. The commands are those of Redis 7.2, which Memorystore has.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import redis
from redis.backoff import NoBackoff
from redis.maint_notifications import MaintNotificationsConfig
from redis.retry import Retry

from core.config import StoreSettings
from core.errors import ConfigurationError, CorruptData, InvalidInput, StoreSilent, StoreUnavailable
from core.stores.protocols import NO_ADAPTER, StoredAdapter, StoredState
from core.stores.pseudonyms import UNKEYED, Pseudonyms

STORE = "hot_store"  # the name in StoreUnavailable and in `degraded`
HEADER = struct.Struct(">QQ")  # version and seq before the blob
ADAPTER_HEADER = struct.Struct(">QQdH")  # version, folded_upto_seq, updated_at, bytes of the generation, which follows
ABSENCE_TTL_S = 3600  # "no adapter" is asked anew after this, however often it is read: it may be a missed write

# KEYS: copy, tombstone. ARGV: version, new value, seconds to live. 0 = erased, 1 = the copy is this version or newer.
# Both kinds of copies begin with the version.
_PUT = """
if redis.call('EXISTS', KEYS[2]) == 1 then return 0 end
local header = redis.call('GETRANGE', KEYS[1], 0, 15)
if #header == 16 and struct.unpack('>I8', header) > tonumber(ARGV[1]) then
    redis.call('EXPIRE', KEYS[1], ARGV[3], 'GT')
else
    redis.call('SET', KEYS[1], ARGV[2], 'EX', ARGV[3])
end
return 1
"""
# KEYS: state, adapter, tombstone. ARGV: seconds to live. The time to live of what is there starts again, except of the
# record that there is no adapter.
_GET_BOTH = """
if redis.call('EXISTS', KEYS[3]) == 1 then return {false, false} end
local state = redis.call('GETEX', KEYS[1], 'EX', ARGV[1])
local adapter = redis.call('GET', KEYS[2])
if adapter and #adapter >= 8 and struct.unpack('>I8', adapter) > 0 then
    redis.call('EXPIRE', KEYS[2], ARGV[1])
end
return {state, adapter}
"""
# Forward decay (Cormode et al. 2009): what is added at time t weighs 2^((t - landmark) / half life), and a reader
# scales back. KEYS: counters. ARGV: now, half life, seconds to live, largest exponent, then id and weight in turn.
# The landmark is the field with the empty name. Without it the counters were lost: nothing is counted until the
# refill, which brings what was missed, because a partial count would look like a whole one.
_ADD = """
local now, half_life = tonumber(ARGV[1]), tonumber(ARGV[2])
local landmark = tonumber(redis.call('HGET', KEYS[1], '') or '')
if not landmark then return 0 end
if (now - landmark) / half_life > tonumber(ARGV[4]) then
    local old = redis.call('HGETALL', KEYS[1])
    local scale = 2 ^ ((landmark - now) / half_life)
    redis.call('DEL', KEYS[1])
    for i = 1, #old, 2 do
        local count = tonumber(old[i + 1]) * scale
        if old[i] ~= '' and count > 1e-9 then
            redis.call('HSET', KEYS[1], old[i], string.format('%.17g', count))
        end
    end
    redis.call('HSET', KEYS[1], '', ARGV[1])
    landmark = now
end
local scale = 2 ^ ((now - landmark) / half_life)
for i = 5, #ARGV, 2 do
    redis.call('HINCRBYFLOAT', KEYS[1], ARGV[i], string.format('%.17g', tonumber(ARGV[i + 1]) * scale))
end
redis.call('EXPIRE', KEYS[1], ARGV[3])
return 1
"""


def client(stores: StoreSettings) -> redis.Redis:
    """A client whose calls end within about `redis_timeout_s`; it connects when first used.

    One immediate retry replaces a connection that a restarted server closed; a timeout is never retried, so that a slow
    server is not asked more often.
    """
    if not stores.redis_url:
        raise ConfigurationError("set SONA_STORES_REDIS_URL")
    tls = {"ssl_ca_certs": stores.redis_ca_file} if stores.redis_ca_file else {}
    try:
        return redis.Redis.from_url(
            stores.redis_url,
            protocol=3,
            socket_timeout=stores.redis_timeout_s,
            socket_connect_timeout=stores.redis_timeout_s,
            retry=Retry(NoBackoff(), 1, supported_errors=(redis.ConnectionError,)),
            maint_notifications_config=MaintNotificationsConfig(enabled=False),  # not offered by Memorystore
            **tls,
        )
    except (ValueError, TypeError) as error:
        raise ConfigurationError(f"SONA_STORES_REDIS_URL: {error}") from error


@contextmanager
def translated() -> Iterator[None]:
    """redis-py's errors as ours: StoreSilent after a timeout, else StoreUnavailable; InvalidInput for an id beyond
    UTF-8."""
    try:
        yield
    except redis.TimeoutError as error:
        raise StoreSilent(STORE, type(error).__name__) from error
    except redis.RedisError as error:
        raise StoreUnavailable(STORE, type(error).__name__) from error
    except UnicodeEncodeError as error:
        raise InvalidInput(f"not an id: {error}") from error


class UserKeys:
    """Names of one user's keys; `tag` is half the pseudonym in hexadecimal: 128 bits tell any number of users apart."""

    def __init__(self, pseudonym: bytes) -> None:
        self.tag = pseudonym[:16].hex()
        self.state = f"user:{{{self.tag}}}:state"
        self.adapter = f"user:{{{self.tag}}}:lora_adapter"
        self.tombstone = f"user:{{{self.tag}}}:erased"
        self.answers = f"rec:{{{self.tag}}}"


def keys_of(user_id: str, pseudonyms: Pseudonyms = UNKEYED) -> UserKeys:
    """Where a user's copies are."""
    return UserKeys(pseudonyms.of(user_id))


class ValkeyHotStates:
    """HotStates: `user:{pseudonym}:state` and `...:lora_adapter` hold a header and the blob, `...:erased` is the
    tombstone of an erased user."""

    def __init__(self, valkey: redis.Redis, ttl_s: int, pseudonyms: Pseudonyms = UNKEYED) -> None:
        self._valkey = valkey
        self._ttl_s = ttl_s
        self._pseudonyms = pseudonyms
        self._put = valkey.register_script(_PUT)
        self._get_both = valkey.register_script(_GET_BOTH)

    def get_with_adapter(self, user_id: str) -> tuple[StoredState | None, StoredAdapter | None]:
        """See HotStates. Their times to live start again, except of the record that there is no adapter."""
        names = self._keys(user_id)
        with translated():
            state, adapter = self._read_both([names.state, names.adapter, names.tombstone])
        return (None if state is None else _unpack_state(state)), (
            None if adapter is None else _unpack_adapter(adapter)
        )

    def _read_both(self, keys: list[str]) -> Any:
        """What _GET_BOTH returns. Straight over a connection of the client, with its retry: every request asks this,
        and what the client does around a command takes twice the time of the command."""
        pool = self._valkey.connection_pool
        connection = pool.get_connection()

        def asked() -> Any:
            connection.send_command("EVALSHA", self._get_both.sha, len(keys), *keys, self._ttl_s)
            return connection.read_response()

        try:
            return connection.retry.call_with_retry(asked, lambda error: connection.disconnect())
        except redis.exceptions.NoScriptError:  # a server that was restarted
            return self._get_both(keys=keys, args=[self._ttl_s])
        finally:
            pool.release(connection)

    def put(self, user_id: str, state: StoredState) -> bool:
        names = self._keys(user_id)
        value = HEADER.pack(state.version, state.seq) + state.blob
        return self._put_newer(names.state, names.tombstone, state.version, value, self._ttl_s)

    def put_adapter(self, user_id: str, adapter: StoredAdapter) -> bool:
        names = self._keys(user_id)
        ttl_s = min(ABSENCE_TTL_S, self._ttl_s) if adapter == NO_ADAPTER else self._ttl_s
        return self._put_newer(names.adapter, names.tombstone, adapter.version, _pack_adapter(adapter), ttl_s)

    def delete(self, user_id: str) -> None:
        names = self._keys(user_id)
        with translated():
            self._valkey.delete(names.state, names.adapter)

    def erase(self, user_id: str) -> None:
        """Delete the copies and refuse new ones for as long as a copy could have lived; under older keys' names too."""
        for pseudonym in self._pseudonyms.all_of(user_id):
            names = UserKeys(pseudonym)
            with translated(), self._valkey.pipeline(transaction=True) as pipeline:
                pipeline.set(names.tombstone, b"1", ex=self._ttl_s)
                pipeline.delete(names.state, names.adapter, names.answers)
                pipeline.execute()

    def _keys(self, user_id: str) -> UserKeys:
        return keys_of(user_id, self._pseudonyms)

    def _put_newer(self, key: str, tombstone: str, version: int, value: bytes, ttl_s: int) -> bool:
        with translated():
            return bool(self._put(keys=[key, tombstone], args=[version, value, ttl_s]))


def _unpack_state(value: bytes) -> StoredState:
    if len(value) < HEADER.size:
        raise CorruptData("a hot state is shorter than its header")
    version, seq = HEADER.unpack_from(value)
    return StoredState(blob=value[HEADER.size :], version=version, seq=seq)


def _pack_adapter(adapter: StoredAdapter) -> bytes:
    generation = adapter.generation.encode()
    header = ADAPTER_HEADER.pack(adapter.version, adapter.folded_upto_seq, adapter.updated_at, len(generation))
    return header + generation + adapter.blob


def _unpack_adapter(value: bytes) -> StoredAdapter:
    try:
        version, folded_upto_seq, updated_at, length = ADAPTER_HEADER.unpack_from(value)
        start = ADAPTER_HEADER.size + length
        if len(value) < start:
            raise CorruptData("a hot adapter is shorter than its header says")
        generation = value[ADAPTER_HEADER.size : start].decode()
    except (struct.error, UnicodeDecodeError) as error:
        raise CorruptData(f"unreadable hot adapter: {error}") from error
    return StoredAdapter(value[start:], version, folded_upto_seq, generation, updated_at)


class ValkeyPopularity:
    """PopularityCounters in one hash, `name:{half life}`; a value is exact within the precision of a double."""

    KEPT_HALF_LIVES = 60  # a counter nobody touched for so long is below 1e-18 of what it was
    LARGEST_EXPONENT = (
        60  # then the landmark moves up to now: far from overflow, and the precision does not depend on it
    )

    def __init__(self, valkey: redis.Redis, half_life_s: float, name: str = "popularity") -> None:
        self._valkey = valkey
        self._half_life_s = half_life_s
        self._key = f"{name}:{{{half_life_s:g}}}"
        self._claims = (f"{self._key}:refill", f"{self._key}:patient_refill")
        self._ttl_s = max(1, round(half_life_s * self.KEPT_HALF_LIVES))
        self._add = valkey.register_script(_ADD)

    def add(self, weights: Mapping[str, float], now: float) -> bool:
        if not weights:
            return True
        counted = [value for content_id, weight in weights.items() for value in (content_id, repr(float(weight)))]
        with translated():
            added = self._add(
                keys=[self._key],
                args=[repr(float(now)), repr(self._half_life_s), self._ttl_s, self.LARGEST_EXPONENT, *counted],
            )
        return bool(added)

    def read(self, now: float) -> dict[str, float]:
        with translated():
            stored: Any = self._valkey.hgetall(self._key)
        landmark = float(stored.pop(b"", now))
        scale = 2.0 ** ((landmark - now) / self._half_life_s)
        return {content_id.decode(): float(value) * scale for content_id, value in stored.items()}

    def filled(self) -> bool:
        with translated():
            return bool(self._valkey.hexists(self._key, ""))

    def claim(self, patient: bool, for_s: float) -> bool:
        with translated():
            return bool(self._valkey.set(self._claims[patient], b"1", nx=True, px=round(for_s * 1000)))

    def replace(self, counts: Mapping[str, float], now: float) -> None:
        with translated(), self._valkey.pipeline(transaction=True) as pipeline:
            pipeline.delete(self._key, *self._claims)
            pipeline.hset(self._key, mapping={"": repr(float(now)), **{k: repr(float(v)) for k, v in counts.items()}})
            pipeline.expire(self._key, self._ttl_s)
            pipeline.execute()
