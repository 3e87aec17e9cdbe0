"""The laptop edition as one thing: embedded services, the broker and the gateway, in one folder.

Starting is idempotent: what runs is left alone, what is missing is started, what is half done is finished.
"""

from __future__ import annotations

import json
import secrets
import shutil
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from core.config import Settings, read_settings
from core.errors import ConfigurationError
from core.local.broker.server import BrokerServer
from core.local.demo_data import load_demo
from core.local.gateway import GatewayServer
from core.local.gcs_server import GcsServer
from core.local.postgres_server import PostgresServer
from core.local.process import Server
from core.local.simulator import AUDIENCE
from core.local.valkey_server import ValkeyServer
from core.stores.gcs import ensure_bucket
from core.stores.postgres.migrate import migrate
from core.stores.pubsub_admin import ensure_pull_subscription, ensure_push_subscription, ensure_topic

Progress = Callable[[str], None]
DEFAULT_PORT = 8080
DEAD_LETTERS = "dead-letters"
SUPERVISORS = ("supervisor.json", "supervisor.json.new", "supervisor.log", "lock")
# What a data folder holds beside the servers' own folders.
FILES = ("sona.toml", "sona.new", "secret", "privacy-key", "demo.json", *SUPERVISORS)
CACHES = ("cache", "cache-models")


class Stack:
    """Everything `sona up` runs, with its data under `home`. `port` is the gateway's; the others choose their own."""

    def __init__(self, home: Path, port: int | None = DEFAULT_PORT) -> None:
        self.home = home.absolute()
        self.config_path = self.home / "sona.toml"
        self.secret_path = self.home / "secret"
        self.privacy_key_path = self.home / "privacy-key"
        self.postgres = PostgresServer(self.home / "postgres")
        self.valkey = ValkeyServer(self.home / "valkey")
        self.storage = GcsServer(self.home / "storage")
        self.broker = BrokerServer(self.home / "broker")
        self.gateway = GatewayServer(self.home / "gateway", port, self.config_path)

    @property
    def servers(self) -> tuple[Server, ...]:
        """In starting order."""
        return self.postgres, self.valkey, self.storage, self.broker, self.gateway

    def settings(self) -> Settings:
        """As the stack's processes read them: from the file that `start` has written, and no environment. Raises
        ConfigurationError before that."""
        return read_settings({}, self.config_path)

    def start(self, progress: Progress = lambda stage: None, demo: bool = True, viewers: int = AUDIENCE) -> None:
        """Start what is not running; demo: with the demo's titles and so many viewers, where they are not there yet.

        Raises ConfigurationError or StoreUnavailable with what to do about it.
        """
        self.home.mkdir(parents=True, exist_ok=True)
        progress("starting PostgreSQL, Valkey, Cloud Storage and Pub/Sub")
        with ThreadPoolExecutor(4) as threads:
            list(threads.map(Server.start, self.servers[:-1]))
        for path in (self.secret_path, self.privacy_key_path):
            _write_secret(path)
        self._write_config()
        settings = self.settings()
        progress("preparing the database schema")
        migrate(settings.stores)
        ensure_bucket(settings.stores)
        if demo:
            load_demo(settings, self.home / "demo.json", progress, viewers)
        progress("starting the functions")
        self.gateway.start()
        ensure_topic(settings.stores, DEAD_LETTERS)
        ensure_pull_subscription(settings.stores, DEAD_LETTERS, DEAD_LETTERS)
        for topic, function in ((settings.stores.interactions_topic, "ingest"), (settings.adaptation.topic, "adapt")):
            ensure_topic(settings.stores, topic)
            ensure_push_subscription(
                settings.stores, topic, f"{self.gateway.url}/push/{function}", dead_letter_topic=DEAD_LETTERS
            )

    def heal(self) -> list[str]:
        """Start again what has died, and say what it was."""
        dead = [server for server in self.servers if not server.is_running()]
        ports = [server.port for server in self.servers]
        for server in dead:
            server.start()
        if ports != [server.port for server in self.servers]:  # somebody took the port meanwhile: tell everyone
            self.gateway.stop()
            self.start(demo=False)
        return [server.name for server in dead]

    def stop(self) -> None:
        """End every server, the gateway first. Works from any process."""
        for server in reversed(self.servers):
            server.stop()

    def erase(self) -> None:
        """Stop everything and delete the data; what else lies in the folder stays, and the folder with it.

        Raises ConfigurationError where it is no data folder: then nothing is deleted.
        """
        if not self.home.exists():
            return
        signs = self.config_path, self.home / "supervisor.log", *(server.log_path for server in self.servers)
        if any(self.home.iterdir()) and not any(sign.exists() for sign in signs):
            raise ConfigurationError(f"{self.home} is no data folder of SONA: nothing was deleted")
        for server in reversed(self.servers):
            server.erase()
        for name in CACHES:
            shutil.rmtree(self.home / name, ignore_errors=True)
        for name in FILES:
            (self.home / name).unlink(missing_ok=True)
        if not any(self.home.iterdir()):
            self.home.rmdir()

    def _write_config(self) -> None:
        """Ports may have changed since the last start, so the file is written anew."""
        tables: dict[str, dict[str, object]] = {
            "": {"edition": "laptop", "cache_dir": str(self.home / "cache"), "snapshot_max_age_s": 2.0},
            "stores": {
                "sql_dsn": self.postgres.dsn,
                "redis_url": self.valkey.url,
                "storage_endpoint": self.storage.endpoint,
                "pubsub_endpoint": self.broker.endpoint,
            },
            "auth": {"local_secret_file": str(self.secret_path)},
            "privacy": {"keys": self.privacy_key_path.read_text(), "dead_letters": DEAD_LETTERS},
        }
        lines = [f"# Written by `sona up` on {time.strftime('%Y-%m-%d %H:%M:%S')}; changes here are lost."]
        for name, table in tables.items():
            lines += [f"\n[{name}]"] if name else []
            lines += [f"{key} = {json.dumps(value)}" for key, value in table.items()]  # TOML reads JSON scalars
        unfinished = self.config_path.with_suffix(".new")
        unfinished.touch(mode=0o600)  # it holds a secret
        unfinished.write_text("\n".join(lines) + "\n")
        unfinished.replace(self.config_path)


def _write_secret(path: Path) -> None:
    """A secret of this installation's own, made once."""
    if not path.exists():
        path.touch(mode=0o600)
        path.write_text(secrets.token_hex(32))
