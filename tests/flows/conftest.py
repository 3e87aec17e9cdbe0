"""The flows' services on real stores."""

from pathlib import Path

import pytest

from core.config import Settings, StoreSettings
from core.flows.services import Services
from core.wiring import services_for


@pytest.fixture
def services(postgres_dsn: str, valkey_url: str, gcs_endpoint: str, pubsub_endpoint: str, tmp_path: Path) -> Services:
    stores = StoreSettings(
        sql_dsn=postgres_dsn, redis_url=valkey_url, storage_endpoint=gcs_endpoint, pubsub_endpoint=pubsub_endpoint
    )
    return services_for(Settings(edition="laptop", cache_dir=str(tmp_path), stores=stores))
