"""Real servers for the tests, started once per run when a test first asks for them.

Tests share the servers, so they use users, titles and topics of their own, or ask for `clean_tables`. A test that
breaks a server leaves it running again.
"""

import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from core.config import StoreSettings
from core.embedding.weights import ensure_minilm
from core.local.broker.server import BrokerServer
from core.local.gcs_server import GcsServer
from core.local.postgres_server import PostgresServer
from core.local.valkey_server import ValkeyServer
from core.stores.postgres.connect import ConnectionPool, pool
from core.stores.postgres.migrate import migrate
from core.stores.pubsub_admin import ensure_topic

TABLES = (
    "interactions, user_states, user_lora_adapters, adaptations, rejected_events, erasures, "
    "content, content_embeddings, availability, content_relationships"
)


@pytest.fixture(scope="session")
def postgres_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PostgresServer]:
    server = PostgresServer(tmp_path_factory.mktemp("postgres"), fsync=False)  # a kill loses nothing, a power cut may
    server.start()
    migrate(StoreSettings(sql_dsn=server.dsn))
    yield server
    server.erase()


@pytest.fixture(scope="session")
def postgres_dsn(postgres_server: PostgresServer) -> str:
    """A database with the newest schema."""
    return postgres_server.dsn


@pytest.fixture
def sql(postgres_dsn: str) -> Iterator[ConnectionPool]:
    """A pool whose statements end within a second."""
    connections = pool(StoreSettings(sql_dsn=postgres_dsn, sql_pool_size=8, sql_timeout_s=1.0))
    yield connections
    connections.close()


@pytest.fixture
def clean_tables(sql: ConnectionPool) -> None:
    sql.run(lambda connection: connection.execute(f"TRUNCATE {TABLES}"))


@pytest.fixture(scope="session")
def valkey_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ValkeyServer]:
    with ValkeyServer(tmp_path_factory.mktemp("valkey")) as server:
        yield server


@pytest.fixture(scope="session")
def valkey_url(valkey_server: ValkeyServer) -> str:
    return valkey_server.url


@pytest.fixture(scope="session")
def gcs_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GcsServer]:
    with GcsServer(tmp_path_factory.mktemp("storage")) as server:
        yield server


@pytest.fixture(scope="session")
def gcs_endpoint(gcs_server: GcsServer) -> str:
    return gcs_server.endpoint


@pytest.fixture(scope="session")
def pubsub_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[BrokerServer]:
    with BrokerServer(tmp_path_factory.mktemp("pubsub")) as server:
        yield server


@pytest.fixture(scope="session")
def pubsub_endpoint(pubsub_server: BrokerServer) -> str:
    return pubsub_server.endpoint


@pytest.fixture(scope="session")
def encoder_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The default text encoder, built from the installed weights."""
    folder = ensure_minilm(tmp_path_factory.mktemp("models") / "minilm")
    assert folder is not None, "the extra `local` brings the weights"
    return folder


@pytest.fixture
def topic(pubsub_endpoint: str) -> str:
    """A topic of this test's own."""
    name = f"topic-{uuid.uuid4().hex}"
    ensure_topic(StoreSettings(pubsub_endpoint=pubsub_endpoint), name)
    return name


@pytest.fixture
def user() -> str:
    """A user id of this test's own."""
    return f"user-{uuid.uuid4().hex}"
