"""The embedded Valkey behaves as the deployed one is configured, and forgets everything when it ends."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import redis

from core.local.valkey_server import ValkeyServer


@pytest.fixture
def valkey(tmp_path: Path) -> Iterator[ValkeyServer]:
    with ValkeyServer(tmp_path) as server:
        yield server


def test_it_evicts_the_least_frequently_used_keys_of_256_mb(valkey: ValkeyServer) -> None:
    with redis.from_url(valkey.url) as client:
        assert client.config_get("maxmemory")["maxmemory"] == str(256 * 2**20)
        assert client.config_get("maxmemory-policy")["maxmemory-policy"] == "allkeys-lfu"


def test_it_listens_on_the_loopback_only(valkey: ValkeyServer) -> None:
    process = valkey.process()
    assert process is not None
    addresses = {connection.laddr.ip for connection in process.net_connections() if connection.status == "LISTEN"}
    assert addresses == {"127.0.0.1"}


@pytest.mark.parametrize("end", ["stop", "kill"])
def test_it_comes_back_empty_on_the_same_port_rather_than_stale(valkey: ValkeyServer, end: str) -> None:
    with redis.from_url(valkey.url) as client:
        client.set("user:{u}:state", b"old")
        getattr(valkey, end)()
        with pytest.raises(redis.ConnectionError):
            client.get("user:{u}:state")
        valkey.start()
        assert client.get("user:{u}:state") is None


def test_a_paused_store_times_out_and_has_lost_nothing(valkey: ValkeyServer) -> None:
    with redis.from_url(valkey.url, socket_timeout=0.2, retry=None) as client:
        client.set("key", b"value")
        valkey.pause()
        with pytest.raises(redis.TimeoutError):
            client.get("key")
        valkey.resume()
        assert client.get("key") == b"value"
